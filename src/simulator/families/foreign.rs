//! Records of other products, which travel in the same contents, and Copilot conversations.

use crate::simulator::draft::{Draft, Value};

/// Exchange administration (1) and items read (50); results are `True` and `Succeeded`.
pub fn exchange(draft: &mut Draft<'_>) {
    let user = draft.actor.upn.clone();
    if draft.dice.one_in(2) {
        draft.envelope("Add-MailboxPermission", 1, "Exchange", "True");
        let address = draft.address();
        draft.set("ClientIP", address);
        draft.set("ObjectId", "Shared mailbox – Einkauf");
        draft.set("UserId", user);
        draft.set("ExternalAccess", false);
        draft.set("OrganizationName", draft.tenant.domain.as_str());
        draft.set("OriginatingServer", "AM0PR01MB2587 (15.20.9930.000)");
        let pairs = [("Identity", "Einkauf"), ("User", "domain\\user"), ("AccessRights", "FullAccess")];
        draft.set("Parameters", Value::Pairs(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()));
        draft.set("SessionId", "");
    } else {
        draft.envelope("MailItemsAccessed", 50, "Exchange", "Succeeded");
        draft.set("UserId", user);
        draft.set("ClientInfoString", "Client=REST;Client=RESTSystem;;");
        draft.set("MailboxGuid", draft.actor.object.clone());
    }
}

/// A file of SharePoint (6).
pub fn sharepoint(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&["FileAccessed", "FilePreviewed", "FileModified", "FileDownloaded"]);
    draft.envelope(operation, 6, "SharePoint", "");
    let address = draft.address();
    draft.set("ClientIP", address);
    draft.set("ObjectId", "https://contoso.sharepoint.com/sites/ops/Shared Documents/Plan.docx");
    draft.set("UserId", draft.actor.upn.clone());
    let correlation = draft.dice.guid();
    draft.set("CorrelationId", correlation);
    draft.set("EventSource", "SharePoint");
    draft.set("ItemType", "File");
    draft.set("SourceFileExtension", "docx");
    draft.set("SourceRelativeUrl", "Shared Documents");
}

/// Entra: a change (8) or a sign-in (15), whose address is null.
pub fn entra(draft: &mut Draft<'_>) {
    let sign_in = draft.dice.one_in(2);
    if sign_in {
        draft.envelope("UserLoggedIn", 15, "AzureActiveDirectory", "Success");
    } else {
        draft.envelope("Add member to group.", 8, "AzureActiveDirectory", "Success");
    }
    draft.set("ClientIP", Value::Null);
    draft.set("ObjectId", draft.actor.object.clone());
    draft.set("UserId", draft.actor.upn.clone());
    draft.set("AzureActiveDirectoryEventType", 1i64);
    let details = vec![("additionalDetails".to_owned(), r#"{"User-Agent":"python/3.13"}"#.to_owned())];
    draft.set("ExtendedProperties", Value::Pairs(details));
    let actor = Value::Object(vec![("ID", Value::Text(draft.actor.upn.clone())), ("Type", Value::Int(5))]);
    draft.set("Actor", Value::Array(vec![actor]));
    draft.set("ActorContextId", draft.tenant.id.as_str());
}

/// Teams (25).
pub fn teams(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&["MessageSent", "MemberAdded", "TeamsSessionStarted"]);
    draft.envelope(operation, 25, "MicrosoftTeams", "Success");
    draft.set("UserId", draft.actor.upn.clone());
    draft.set("CommunicationType", "Team");
}

/// A number that nobody has published: new ones come without notice.
pub fn unknown(draft: &mut Draft<'_>) {
    let record_type = 9_000 + draft.dice.below(40) as i64;
    draft.envelope("SomethingNewHappened", record_type, "ContosoNovelty", "Success");
    draft.set("UserId", draft.actor.upn.clone());
    draft.set("Novelty", Value::Object(vec![("Depth", Value::Int(2)), ("Tags", Value::Array(vec!["a".into()]))]));
}

/// A conversation with an agent (261): workload `Copilot`, which the catalogue counts to Power Platform.
pub fn copilot(draft: &mut Draft<'_>) {
    draft.envelope("CopilotInteraction", 261, "Copilot", "");
    draft.set("UserId", draft.actor.upn.clone());
    let number = draft.dice.below(8);
    let agent = draft.thing(0xB07, number);
    draft.set("AppIdentity", format!("Copilot.Studio.{agent}"));
    draft.set("AgentId", agent);
    draft.set("AgentName", "Helpdesk agent");
    draft.set("ClientRegion", "deu");
    draft.set("CopilotLogVersion", "1.0.0.0");
    let thread = draft.dice.guid();
    let event = vec![("AppHost", Value::Text("Copilot Studio".into())), ("ThreadId", Value::Text(thread))];
    draft.set("CopilotEventData", Value::Object(event));
}

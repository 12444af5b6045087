//! Dataverse, record type 21: always `CrmDefaultActivity`, the event is in `Message`.

use crate::simulator::draft::{Draft, Value};

const NONE: &str = "00000000-0000-0000-0000-000000000000";

/// One message on one table, or none.
pub fn crm(draft: &mut Draft<'_>) {
    let (message, table) = draft.dice.pick(&[
        ("Create", "account"),
        ("Update", "organization"),
        ("Update", "contact"),
        ("Delete", "contact"),
        ("RetrieveMultiple", "account"),
        ("ExportToExcel", "lead"),
        ("Associate", "systemuser"),
        ("UserSignIn", "authentication"),
        ("ExecuteMultiple", ""),
    ]);
    draft.envelope("CrmDefaultActivity", 21, "CRM", "Success");
    // application users and platform jobs have no name
    let nameless = table.is_empty() || draft.dice.one_in(5);
    let address = draft.address();
    draft.replace("UserKey", if nameless { "Unknown".to_owned() } else { draft.actor.object.to_ascii_uppercase() });
    draft.set("ClientIP", address);
    // a trailing blank where there is no table, as captured
    draft.set("ObjectId", format!("{message} {table}"));
    draft.set("UserId", if nameless { "Unknown".to_owned() } else { draft.actor.upn.clone() });
    draft.set("CrmOrganizationUniqueName", "org7f3a91c2");
    let fields = match message {
        "Create" | "Update" => {
            vec![("name".to_owned(), "Fabrikam".to_owned()), ("creditlimit".to_owned(), "****".to_owned())]
        }
        _ => Vec::new(),
    };
    draft.set("Fields", Value::Pairs(fields));
    for key in ["InstanceUrl", "ItemUrl"] {
        draft.set(key, "https://org7f3a.crm4.dynamics.com/");
    }
    draft.set("ItemType", "Dynamics365");
    draft.set("UserAgent", "");
    let entity = if table.is_empty() { NONE.to_owned() } else { draft.dice.guid() };
    draft.set("CorrelationId", draft.thing(0xC0, 0));
    draft.set("EntityId", entity);
    draft.set("EntityName", if table.is_empty() { "Unknown" } else { table });
    draft.set("Message", message);
    draft.set("PrimaryFieldValue", "");
    let query = if message == "RetrieveMultiple" {
        r#"<fetch top="50"><entity name="account"><attribute name="name" /></entity></fetch>"#
    } else {
        ""
    };
    draft.set("Query", query);
    draft.set("QueryResults", "");
    draft.set("ServiceContextId", NONE);
    draft.set("ServiceContextIdType", "");
    draft.set("ServiceName", "Dynamics365");
    draft.set("SystemUserId", draft.actor.object.clone());
    draft.set("UserUpn", if nameless { String::new() } else { draft.actor.upn.clone() });
}

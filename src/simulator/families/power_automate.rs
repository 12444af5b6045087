//! Power Automate, record type 30.

use crate::simulator::draft::Draft;

const CONNECTORS: [&str; 4] = [
    "Request, OpenApiConnection, InitializeVariable",
    "OpenApiConnectionWebhook, Response",
    "Recurrence, Http",
    "ApiConnection",
];

/// One of the seven documented operations.
pub fn flow(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&[
        "CreateFlow",
        "EditFlow",
        "EditFlow",
        "EditFlow",
        "DeleteFlow",
        "PutPermissions",
        "DeletePermissions",
        "StartAPaidTrial",
        "RenewTrial",
    ]);
    draft.envelope(operation, 30, "MicrosoftFlow", "Success");
    let address = draft.address();
    draft.set("ClientIP", address);
    // the object is the actor, not the flow
    draft.set("ObjectId", draft.actor.object.clone());
    draft.set("UserId", draft.actor.upn.clone());
    let trial = matches!(operation, "StartAPaidTrial" | "RenewTrial");
    if trial {
        draft.set("FlowConnectorNames", "");
        draft.set("FlowDetailsUrl", "");
        let licence = draft.dice.pick(&["Power Automate per user plan", "Power Automate Premium"]);
        draft.set("LicenseDisplayName", licence);
    } else {
        let names = draft.dice.pick(&CONNECTORS);
        let number = draft.dice.below(30);
        let (environment, flow) = (draft.environment(), draft.thing(0xF10, number));
        // both generations of the link are about
        let url = if draft.dice.one_in(3) {
            format!("https://admin.flow.microsoft.com/environments/{environment}/resources/flows/{flow}")
        } else {
            format!("https://admin.powerplatform.microsoft.com/environments/{environment}/flows/{flow}/flowDetails")
        };
        draft.set("FlowConnectorNames", names);
        draft.set("FlowDetailsUrl", url);
        draft.set("LicenseDisplayName", "");
    }
    let sharing = if operation == "PutPermissions" {
        let recipient = draft.person();
        draft.set("RecipientUPN", recipient.object);
        draft.dice.pick(&[2i64, 3])
    } else {
        1
    };
    // a number in captures, text in the documentation
    if draft.dice.one_in(5) {
        draft.set("SharingPermission", sharing.to_string());
    } else {
        draft.set("SharingPermission", sharing);
    }
    let initiated = if draft.dice.one_in(9) { 2i64 } else { 1 };
    draft.set("UserTypeInitiated", initiated);
    draft.set("UserUPN", draft.actor.upn.clone());
}

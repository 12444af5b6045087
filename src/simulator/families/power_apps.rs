//! Power Apps: the old form (45) and today's (256 with `PropertyCollection`).

use crate::simulator::draft::{Draft, Value};

/// The ten activities of Microsoft's «Track user access» page.
const OPERATIONS: [&str; 10] = [
    "CreatePowerApp",
    "LaunchPowerApp",
    "UpdatePowerApp",
    "PublishPowerApp",
    "DeletePowerApp",
    "PromotePowerAppVersion",
    "MarkPowerAppAsFeatured",
    "MarkPowerAppAsHero",
    "PowerAppPermissionEdited",
    "PowerAppPermissionDeleted",
];

/// Record type 45: no address, the environment in JSON text, the app's id under `AppName`.
pub fn legacy(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&OPERATIONS);
    draft.envelope(operation, 45, "PowerApps", "Success");
    draft.set("ObjectId", draft.actor.object.clone());
    draft.set("UserId", draft.actor.upn.clone());
    let (environment, number) = (draft.environment(), draft.dice.below(20));
    let app = draft.thing(0xA99, number);
    if operation.starts_with("PowerAppPermission") {
        let (target, role) = (draft.person().object, draft.dice.pick(&["CanView", "CanEdit"]));
        draft.set(
            "AdditionalInfo",
            format!(r#"{{"targetObjectId":"{target}","permissionType":"{role}","environmentName":"{environment}"}}"#),
        );
        draft.set("AppName", format!("/providers/Microsoft.PowerApps/apps/{app}"));
    } else {
        draft.set("AdditionalInfo", format!(r#"{{"environmentName":"{environment}"}}"#));
        draft.set("AppName", app);
    }
}

/// Record type 256 for an app.
pub fn current(draft: &mut Draft<'_>) {
    let operation = if draft.dice.one_in(4) {
        draft.dice.pick(&[
            "AdminDeleteApp",
            "AdminModifyAppOwner",
            "RecordScopesConsent",
            "AppDlpEvaluationResultChange",
            "PatchPowerApp",
        ])
    } else {
        draft.dice.pick(&OPERATIONS)
    };
    let number = draft.dice.below(20);
    let app = draft.thing(0xA99, number);
    let title = draft.dice.pick(&["Leave requests", "Site inspection", "Vendor onboarding", "Zeiterfassung – Werk 2"]);
    let role = draft.dice.pick(&["CanView", "CanEdit"]);
    let target = draft.person().object;
    let mut bag = vec![
        ("powerplatform.analytics.resource.power_app.display_name".to_owned(), title.to_owned()),
        ("powerplatform.analytics.resource.power_app.id".to_owned(), app),
    ];
    if operation.starts_with("PowerAppPermission") {
        bag.push(("targetuser.id".into(), target));
        bag.push(("powerplatform.analytics.resource.permission_type".into(), role.into()));
    }
    unified(draft, operation, "PowerApp", bag);
}

/// What all records of type 256 share: the envelope and the bag, in which every value is text.
pub fn unified(draft: &mut Draft<'_>, operation: &str, resource: &str, particular: Vec<(String, String)>) {
    let address = draft.address();
    let environment = draft.environment();
    draft.envelope(operation, 256, "PowerPlatform", "Succeeded");
    draft.replace("UserKey", draft.actor.object.clone());
    let admin = operation.starts_with("Admin") || draft.dice.one_in(6);
    draft.replace("UserType", if admin { 2i64 } else { 0 });
    draft.set("ClientIP", address.clone());
    draft.set("UserId", draft.actor.upn.clone());
    draft.set("EnvironmentId", environment.clone());
    let mut bag = particular;
    let correlation = draft.dice.guid();
    // two names for the same thing: documentation, and the capture of 2026
    let correlation_key = draft
        .dice
        .pick(&["powerplatform.analytics.resource.telemetry_correlation.id", "powerplatform.analytics.correlation.id"]);
    let agent = draft.dice.pick(&["Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "PowerApps/3.26011 (iPad)"]);
    for (name, value) in [
        ("powerplatform.analytics.resource.environment.name", environment.as_str()),
        ("powerplatform.analytics.resource.environment.id", environment.as_str()),
        ("powerplatform.analytics.operation.is_successful", "True"),
        ("enduser.ip_address", address.as_str()),
        ("enduser.id", draft.actor.object.as_str()),
        ("enduser.principal_name", draft.actor.upn.as_str()),
        ("enduser.role", if admin { "Admin" } else { "Maker" }),
        (correlation_key, correlation.as_str()),
        ("powerplatform.analytics.resource.type", resource),
        ("powerplatform.analytics.activity.name", operation),
        ("powerplatform.analytics.activity.id", draft.mark.as_str()),
        ("powerplatform.analytics.resource.tenant.id", draft.tenant.id.as_str()),
        ("user_agent.original", agent),
        ("version", "1.0"),
        ("type", "PowerPlatformAdministratorActivityRecord"),
    ] {
        bag.push((name.to_owned(), value.to_owned()));
    }
    draft.set("PropertyCollection", Value::Pairs(bag));
    draft.set("RequiresCustomerKeyEncryption", false);
}

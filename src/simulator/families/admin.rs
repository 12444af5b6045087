//! Administration: data policies, environments, agents, lockbox, isolation, sites, connectors; 256 and the old numbers.

use super::power_apps::unified;
use crate::simulator::draft::Draft;

const RESOURCE: &str = "powerplatform.analytics.resource";

/// A data policy, new form: the real name is in the bag.
pub fn governance(draft: &mut Draft<'_>) {
    let name = draft.dice.pick(&["CreateDlpPolicy", "UpdateDlpPolicy", "DeleteDlpPolicy"]);
    let number = draft.dice.below(4);
    let policy = draft.thing(0xD1F, number);
    let api = format!("{RESOURCE}.tenant.governance.api_policy");
    let bag = vec![
        (format!("{api}.operation_name"), name.to_owned()),
        (format!("{api}.operation_result"), "True".to_owned()),
        (format!("{api}.additional_resources"), r#"{"policyType":"OnlyEnvironments"}"#.to_owned()),
        (format!("{RESOURCE}.id"), policy),
        (format!("{RESOURCE}.display_name"), "Finance data".to_owned()),
    ];
    unified(draft, "GovernanceApiPolicyOperation", "ApiPolicy", bag);
}

/// A changed property of an environment, told in a sentence; or groups, licences, roles.
pub fn environment(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&[
        "EnvironmentPropertyChange",
        "EnvironmentPropertyChange",
        "NewEnvironmentGroup",
        "EnvironmentAddedToEnvironmentGroup",
        "ApplyAdminRole",
        "AssignLicenseToUser",
        "BillingPolicyUpdate",
        "TrialConvertToProduction",
    ]);
    let bag = if operation == "EnvironmentPropertyChange" {
        let group = draft.dice.guid();
        vec![(
            format!("{RESOURCE}.environment.property_change"),
            format!("Property: SecurityGroupId, Old Value: {group}, New Value: "),
        )]
    } else {
        vec![(format!("{RESOURCE}.environment.url"), "https://org7f3a.crm4.dynamics.com/".to_owned())]
    };
    unified(draft, operation, "Environment", bag);
}

/// Authoring of agents (Copilot Studio).
pub fn bot(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&[
        "BotCreate",
        "BotDelete",
        "BotUpdateOperation-BotPublish",
        "BotUpdateOperation-BotShare",
        "BotUpdateOperation-BotAuthUpdate",
        "BotComponentUpdate",
        "EnvironmentVariableUpdate",
    ]);
    let number = draft.dice.below(8);
    let bag = vec![
        (format!("{RESOURCE}.bot.id"), draft.thing(0xB07, number)),
        (format!("{RESOURCE}.bot.schema.name"), format!("contoso_agent{number}")),
        (format!("{RESOURCE}.bot.update_details.change"), r#"{"newValue":"Everyone"}"#.to_owned()),
    ];
    unified(draft, operation, "Bot", bag);
}

/// Access by Microsoft on request, and isolation of the tenant.
pub fn lockbox_and_isolation(draft: &mut Draft<'_>) {
    if draft.dice.one_in(2) {
        let bag = vec![(format!("{RESOURCE}.tenant.lockbox.request.state"), "Created".to_owned())];
        unified(draft, "LockboxRequestOperation", "LockboxRequest", bag);
    } else {
        let on = draft.dice.pick(&["True", "False"]);
        let bag = vec![(format!("{RESOURCE}.tenant.isolation_policy.enabled"), on.to_owned())];
        unified(draft, "TenantIsolationOperation", "TenantIsolation", bag);
    }
}

/// Power Pages: 256 as the product page says, 186 as the schema page says.
pub fn pages(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&[
        "SiteCreated",
        "WAFDisabled",
        "SiteVisibilityUpdated",
        "IPRestrictionsDeleted",
        "SiteRestarted",
    ]);
    if draft.dice.one_in(2) {
        unified(draft, operation, "PowerPagesSite", Vec::new());
    } else {
        draft.envelope(operation, 186, "PowerPlatform", "Success");
        let address = draft.address();
        draft.set("ClientIP", address);
        draft.set("UserId", draft.actor.upn.clone());
        let number = draft.dice.below(5);
        draft.set("ObjectId", draft.thing(0x517E, number));
    }
}

/// A data policy, old form (79; the schema page swaps 79 and 187).
pub fn legacy_policy(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&["CreateDlpPolicy", "UpdateDlpPolicy", "DeleteDlpPolicy"]);
    draft.envelope(operation, 79, "PowerPlatformAdmin", "Success");
    draft.set("UserId", draft.actor.upn.clone());
    draft.set("Name", "Finance data");
    let number = draft.dice.below(4);
    let policy = draft.thing(0xD1F, number);
    draft.set(
        "AdditionalInfo",
        format!(
            r#"{{"policyId":"{policy}","policyType":"AllEnvironments","changeSet":{{"changedProperties":[{{"name":"displayName","previousValue":"Finance","currentValue":"Finance data"}}]}}}}"#
        ),
    );
}

/// A connection: the old form (187), where `Id` is the request's correlation id, or 256.
pub fn connector(draft: &mut Draft<'_>) {
    let operation = draft.dice.pick(&["PutConnection", "PutConnectionPermission", "PatchApi"]);
    let (environment, connection) = (draft.environment(), draft.dice.guid());
    if draft.dice.one_in(2) {
        let bag = vec![
            (format!("{RESOURCE}.connection.id"), connection),
            (format!("{RESOURCE}.connection.action_name"), operation.to_owned()),
        ];
        return unified(draft, operation, "Connection", bag);
    }
    draft.envelope(operation, 187, "PowerPlatform", "Success");
    draft.set("ObjectId", draft.actor.object.clone());
    draft.set("UserId", draft.actor.upn.clone());
    draft.set("AdditionalInfo", format!(r#"{{"EnvironmentName":"{environment}","ActionName":"{operation}"}}"#));
    draft.set("ResourceId", connection);
}

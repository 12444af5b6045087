//! Everything newer, record type 256: apps, connectors, policies, environments, agents, sites, licences.
//!
//! What happened to what stands in a property bag; names of data policies are nested in it.

use super::{
    Event, Outcome, User,
    bag::Bag,
    envelope::{self, client_address, environment_id, last_after},
};

/// Bag key that names the kind of resource.
pub(super) const RESOURCE_TYPE: &str = "powerplatform.analytics.resource.type";

pub(super) fn read(event: &mut Event<'_>) {
    event.bag = Bag::read(&event.fields);
    let resource = |tail: &str| format!("powerplatform.analytics.resource.{tail}");
    let get = |event: &Event<'_>, tail: &str| event.bag.get(&resource(tail)).map(|text| text.into_owned());

    if event.operation == "GovernanceApiPolicyOperation"
        && let Some(name) = get(event, "tenant.governance.api_policy.operation_name")
    {
        event.fields.untake("Operation");
        envelope::resolve(event, Some(name.into()));
    }
    who(event);
    if event.environment.is_none() {
        event.environment = get(event, "environment.id").map(|id| environment_id(id.into()));
    }
    if event.outcome == Outcome::Unknown && event.result.is_none() {
        let said = event.bag.get("powerplatform.analytics.operation.is_successful");
        let said = said.or_else(|| get(event, "tenant.governance.api_policy.operation_result").map(Into::into));
        event.outcome = envelope::outcome(said.as_deref());
    }
    event.correlation = get(event, "telemetry_correlation.id")
        .map(Into::into)
        .or_else(|| event.bag.get("powerplatform.analytics.correlation.id"));

    // an app's own keys first, then the kind that the operation acts on, then the general ones
    let kind = event.known.map_or("", |known| known.target_kind);
    let app = get(event, "power_app.id").filter(|_| matches!(kind, "" | "app" | "app_version"));
    if let Some(app) = app {
        event.target.uid = Some(last_after(app.into(), "/apps/"));
        event.target.name = get(event, "power_app.display_name").map(Into::into);
        event.target.kind = "app";
    } else {
        let (uid, name) = match kind {
            "agent" | "agent_component" => (
                get(event, "bot.id").or_else(|| event.fields.text("BotId").map(|text| text.into_owned())),
                get(event, "bot.schema.name").or_else(|| event.fields.text("BotSchemaName").map(|t| t.into_owned())),
            ),
            "connection" => (get(event, "connection.id"), None),
            "environment" => (event.environment.as_deref().map(str::to_owned), get(event, "environment.name")),
            _ => (None, None),
        };
        event.target.uid = uid.or_else(|| get(event, "id")).map(Into::into);
        event.target.name = name.or_else(|| get(event, "display_name")).map(Into::into);
    }
    grant(event);
}

/// The actor and where from, when the envelope does not say.
fn who(event: &mut Event<'_>) {
    let bag = &event.bag;
    if event.actor.name.is_none() {
        event.actor.name = bag.get("enduser.principal_name");
    }
    if event.actor.uid.is_none() {
        event.actor.uid = bag.get("enduser.id");
    }
    if event.ip.is_none()
        && let Some(address) = bag.get("enduser.ip_address")
    {
        (event.ip, event.port) = client_address(address);
    }
    if event.user_agent.is_none() {
        event.user_agent = bag.get("user_agent.original");
    }
}

/// To whom, and what, was granted or taken.
fn grant(event: &mut Event<'_>) {
    let bag = &event.bag;
    if let Some(id) = bag.get("targetuser.id") {
        event.grantee = User::by(id);
    }
    if let Some(role) = bag.get("powerplatform.analytics.resource.permission_type") {
        event.privileges.push(role);
    }
}

//! Everything newer, record type 256: apps, connectors, policies, environments, agents, sites, licences.
//!
//! What happened to what stands in a property bag; names of data policies are nested in it.

use super::{
    Event, User,
    bag::Bag,
    envelope::{self, client_address, environment_id, last_after},
};

pub(super) fn read(event: &mut Event<'_>) {
    event.bag = Bag::read(&event.fields);
    if event.operation == "GovernanceApiPolicyOperation"
        && let name @ Some(_) = event.bag.resource("tenant.governance.api_policy.operation_name")
    {
        event.fields.untake("Operation");
        envelope::resolve(event, name);
    }
    who(event);
    if event.environment.is_none() {
        event.environment = event.bag.resource("environment.id").map(environment_id);
    }
    if event.result.is_none() {
        let said = event.bag.get("powerplatform.analytics.operation.is_successful");
        let said = said.or_else(|| event.bag.resource("tenant.governance.api_policy.operation_result"));
        event.outcome = envelope::outcome(said.as_deref());
    }
    event.correlation = event
        .bag
        .resource("telemetry_correlation.id")
        .or_else(|| event.bag.get("powerplatform.analytics.correlation.id"));
    what(event);
    // to whom, and what, was granted or taken
    if let Some(id) = event.bag.get("targetuser.id") {
        event.grantee = User::by(id);
    }
    event.privileges.extend(event.bag.resource("permission_type"));
}

/// The target: an app's own keys first, then those of the kind that the operation acts on, then the general ones.
fn what(event: &mut Event<'_>) {
    let (bag, fields) = (&event.bag, &event.fields);
    let kind = event.known.map_or("", |known| known.target_kind);
    let target = &mut event.target;
    if matches!(kind, "" | "app" | "app_version")
        && let Some(app) = bag.resource("power_app.id")
    {
        target.uid = Some(last_after(app, "/apps/"));
        target.name = bag.resource("power_app.display_name");
        target.kind = "app";
        return;
    }
    (target.uid, target.name) = match kind {
        "agent" | "agent_component" => (
            bag.resource("bot.id").or_else(|| fields.text("BotId")),
            bag.resource("bot.schema.name").or_else(|| fields.text("BotSchemaName")),
        ),
        "connection" => (bag.resource("connection.id"), None),
        "environment" => (event.environment.clone(), bag.resource("environment.name")),
        _ => (None, None),
    };
    target.uid = target.uid.take().or_else(|| bag.resource("id"));
    target.name = target.name.take().or_else(|| bag.resource("display_name"));
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

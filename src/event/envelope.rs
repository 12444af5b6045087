//! What every record has in common, and the generic event of families that have no file of their own.

use std::borrow::Cow;

use super::{
    Event, Outcome, TimeSource, User,
    catalogue::{self, is_power_platform_record_type, power_platform_workload},
    time,
};

/// Reads the common members of the Management Activity schema.
pub(super) fn common(event: &mut Event<'_>) {
    let fields = &mut event.fields;
    event.original_id = fields.take("Id");
    event.original_time = fields.take("CreationTime");
    event.event_code = fields.take("RecordType");
    event.workload = fields.take("Workload");
    event.organization = fields.take("OrganizationId");
    event.result = fields.take("ResultStatus");
    event.user_agent = fields.text("UserAgent");
    event.environment = fields.text("EnvironmentId").map(environment_id);
    event.record_type = event.event_code.as_deref().and_then(|code| code.trim().parse().ok());

    if let Some(read) = event.original_time.as_deref().and_then(time::parse) {
        event.time = read;
        event.time_source = TimeSource::Record;
    }
    event.outcome = outcome(event.result.as_deref());
    event.actor = actor(event);
    if let Some(address) = event.fields.text("ClientIP") {
        (event.ip, event.port) = client_address(address);
    }
    let wire = event.fields.take("Operation");
    resolve(event, wire);
}

/// Finds the operation in the catalogue by `wire` and says it by its catalogue name.
pub(super) fn resolve<'a>(event: &mut Event<'a>, wire: Option<Cow<'a, str>>) {
    let Some(wire) = wire else { return };
    let workload = event.workload.as_deref();
    let dataverse = event.record_type == Some(21) || workload == Some("CRM");
    // other services use some of the same names (`SiteDeleted` is SharePoint's, too)
    let ours = match (event.record_type, workload) {
        (None, None) => true,
        (code, name) => {
            code.is_some_and(|code| is_power_platform_record_type(code) || catalogue::has_record_type(code))
                || name.is_some_and(power_platform_workload)
        }
    };
    event.known = match dataverse {
        true => catalogue::resolve_message(&wire).or_else(|| catalogue::resolve(&wire)),
        false if ours => catalogue::resolve(&wire),
        false => None,
    };
    let name = event.known.and_then(|known| known.operation);
    if let Some(name) = name.filter(|name| *name != wire) {
        // the wire's word is another: it stays among the unmapped
        event.fields.untake("Operation");
        event.operation = Cow::Borrowed(name);
    } else {
        event.operation = wire;
    }
}

/// The generic event: Dataverse (21), data policies (79), connectors (187) in their older forms, and all the rest.
pub(super) fn read(event: &mut Event<'_>) {
    if event.record_type == Some(21) || event.workload.as_deref() == Some("CRM") {
        dataverse(event);
        return;
    }
    // older data policies and connectors: details are JSON text inside a string
    if let Some(text) = event.fields.text("AdditionalInfo") {
        super::bag::each_embedded(&text, |key, value| match &*key {
            "environmentName" | "EnvironmentName" if event.environment.is_none() => {
                event.environment = Some(environment_id(Cow::Owned(value.into_owned())));
            }
            "policyId" => event.target.uid = Some(Cow::Owned(value.into_owned())),
            _ => {}
        });
    }
    let fields = &event.fields;
    event.target.name = fields.text("Name");
    event.target.uid = event.target.uid.take().or_else(|| fields.text("ResourceId"));
    // `ObjectId` is the target for foreign workloads; in Power Platform's older forms it is the actor
    if event.known.is_none() && !event.record_type.is_some_and(is_power_platform_record_type) {
        event.target.uid = event.target.uid.take().or_else(|| fields.text("ObjectId"));
    }
}

/// Dataverse says `CrmDefaultActivity` and means `Message`.
fn dataverse(event: &mut Event<'_>) {
    let fields = &event.fields;
    let known = |text: &Cow<'_, str>| text != "Unknown" && text != "00000000-0000-0000-0000-000000000000";
    event.target.name = fields.text("EntityName").filter(known);
    event.target.uid = fields.text("EntityId").filter(known);
    event.instance = fields.text("InstanceUrl");
    event.correlation = fields.text("CorrelationId").filter(known);
    if event.operation == "CrmDefaultActivity" || event.operation == "unknown" {
        let message = event.fields.text("Message");
        if message.is_some() {
            event.fields.untake("Operation");
            resolve(event, message);
        }
    }
}

/// What is known only when the family has been read.
pub(super) fn finish(event: &mut Event<'_>) {
    if event.target.kind.is_empty() {
        event.target.kind = event.known.map_or("", |known| known.target_kind);
    }
    event.product = product(event);
}

fn product(event: &Event<'_>) -> &'static str {
    if event.workload.as_deref() == Some("auditferry") {
        return "auditferry";
    }
    if let Some(known) = event.known {
        return match known.product {
            "environment" | "admin" | "licensing" | "dlp" => "power_platform_admin",
            other => other,
        };
    }
    match (event.record_type, event.workload.as_deref()) {
        (Some(30 | 239), _) | (_, Some("MicrosoftFlow")) => "power_automate",
        (Some(45 | 46), _) | (_, Some("PowerApps")) => "power_apps",
        (Some(21), _) | (_, Some("CRM")) => "dataverse",
        (Some(186), _) => "power_pages",
        (Some(187), _) => "connectors",
        (Some(256), _) | (_, Some("PowerPlatform")) => match event.bag.resource("type").as_deref() {
            Some("PowerApp" | "PowerAppsApp") => "power_apps",
            _ => "power_platform_admin",
        },
        (_, Some("PowerPlatformAdmin")) => "power_platform_admin",
        (Some(code), _) if is_power_platform_record_type(code) => "power_platform_admin",
        _ => "other",
    }
}

fn actor<'a>(event: &mut Event<'a>) -> User<'a> {
    let fields = &mut event.fields;
    let mut part = |key| {
        let text = fields.take(key);
        if text.as_deref().is_some_and(|text| matches!(text, "Unknown" | "Not Available")) {
            fields.untake(key);
            return None;
        }
        text
    };
    let (name, uid) = (part("UserId"), part("UserKey"));
    let type_id = match fields.text("UserType").as_deref() {
        Some("0" | "10") => 1,
        Some("2" | "3") => 2,
        Some("4") => 3,
        Some("5" | "6") => 4,
        _ => 0,
    };
    User { name, uid, type_id }
}

/// What the words of the services mean; anything else is unknown, not success.
pub(super) fn outcome(text: Option<&str>) -> Outcome {
    let Some(text) = text else { return Outcome::Unknown };
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()));
    if is(&["success", "succeeded", "true"]) {
        Outcome::Success
    } else if is(&["failure", "failed", "fail", "false"]) {
        Outcome::Failure
    } else {
        Outcome::Unknown
    }
}

/// The bare id of an environment, which some records write as a path.
pub(super) fn environment_id(text: Cow<'_, str>) -> Cow<'_, str> {
    last_after(text, "/environments/")
}

/// What follows `marker` in a path; the text itself when it isn't one.
pub(super) fn last_after<'a>(text: Cow<'a, str>, marker: &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.rsplit_once(marker).map_or(text, |(_, id)| id)),
        Cow::Owned(text) => match text.rsplit_once(marker) {
            Some((_, id)) => Cow::Owned(id.to_owned()),
            None => Cow::Owned(text),
        },
    }
}

/// `192.0.2.1`, `192.0.2.1:26568`, `[fdfd::1]:123`, `::ffff:192.0.2.1`: address and port. None when it is no address.
pub(super) fn client_address(text: Cow<'_, str>) -> (Option<Cow<'_, str>>, Option<u16>) {
    use std::net::{IpAddr, SocketAddr};
    let trimmed = text.trim();
    let (ip, port) = if let Ok(ip) = trimmed.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        (ip, None)
    } else if let Ok(pair) = trimmed.parse::<SocketAddr>() {
        (pair.ip(), Some(pair.port()))
    } else {
        return (None, None);
    };
    (Some(Cow::Owned(ip.to_canonical().to_string())), port)
}

//! The objects that several classes share.

use auditferry_contract::Severity;

use super::{Kind, VERSION};
use crate::{
    codec::json::Writer,
    event::{Event, TimeSource, User, identity},
};

/// Placeholder where a class requires what the record does not tell; always with a label.
pub(super) const UNKNOWN: &str = "unknown";

pub(super) fn severity(severity: Severity) -> (i64, &'static str) {
    match severity {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

pub(super) fn metadata(w: &mut Writer<'_>, event: &Event<'_>, kind: &Kind, labels: &[&str], truncated: bool) {
    w.member("metadata", |w| {
        w.text("version", VERSION);
        w.text("uid", &identity::uuid(event.id()));
        w.member("product", |w| product(w, event));
        let profiles: &[&str] = match kind.class_uid {
            0 | 6001 | 6002 => &["cloud", "host"],
            _ => &["cloud"],
        };
        w.texts("profiles", profiles.iter().copied());
        w.maybe("original_event_uid", event.original_id.as_deref());
        w.maybe("original_time", event.original_time.as_deref());
        w.maybe("event_code", event.event_code.as_deref());
        w.text("log_name", event.context.content_type);
        w.text("log_provider", "Office 365 Management Activity API");
        w.text("log_format", "JSON");
        if let Some(fetched) = event.context.fetched {
            w.int("logged_time", fetched.as_millisecond());
        }
        w.maybe("tenant_uid", event.organization());
        w.maybe("correlation_uid", event.correlation.as_deref());
        if truncated {
            w.yes("is_truncated");
            // the schema counts in kilobytes
            w.int("untruncated_size", i64::try_from(event.record().len().div_ceil(1024)).unwrap_or(i64::MAX));
        }
        w.key("labels");
        w.array(|w| {
            w.value(&format!("product:{}", event.product()));
            if let Some(code) = event.record_type() {
                w.value(&format!("record_type:{code}"));
            }
            if let Some(environment) = event.environment() {
                w.value(&format!("environment:{environment}"));
            }
            match event.time_source() {
                TimeSource::Record => {}
                TimeSource::Content => w.value("time:content_created"),
                TimeSource::Unknown => w.value("time:unknown"),
            }
            if event.unreadable_because().is_some() {
                w.value("unreadable");
            }
            labels.iter().for_each(|label| w.value(label));
        });
    });
}

fn product(w: &mut Writer<'_>, event: &Event<'_>) {
    let (name, vendor) = match event.product() {
        "auditferry" => ("auditferry", "auditferry"),
        "other" => ("Microsoft 365", "Microsoft"),
        _ => ("Microsoft Power Platform", "Microsoft"),
    };
    w.text("name", name);
    w.text("vendor_name", vendor);
    if let Some(workload) = event.workload.as_deref() {
        w.member("feature", |w| w.text("name", workload));
    }
}

pub(super) fn cloud(w: &mut Writer<'_>, event: &Event<'_>) {
    w.member("cloud", |w| {
        w.text("provider", "Microsoft 365");
        if let Some(tenant) = event.organization() {
            w.member("account", |w| {
                w.text("uid", tenant);
                w.int("type_id", 17);
                w.text("type", "M365 Tenant");
            });
            w.member("org", |w| w.text("uid", tenant));
        }
    });
}

pub(super) fn api(w: &mut Writer<'_>, event: &Event<'_>) {
    w.member("api", |w| {
        w.text("operation", event.operation());
        if let Some(workload) = event.workload.as_deref() {
            w.member("service", |w| w.text("name", workload));
        }
    });
}

/// A user under `key`, with the placeholder when nobody is named; true when somebody is.
pub(super) fn user(w: &mut Writer<'_>, key: &str, user: &User<'_>) -> bool {
    w.member(key, |w| user_members(w, user));
    !user.is_empty()
}

fn user_members(w: &mut Writer<'_>, user: &User<'_>) {
    let whole = user.name.as_deref().is_some_and(|name| w.fits(name));
    if user.is_empty() {
        w.text("name", UNKNOWN);
    }
    w.maybe("name", user.name.as_deref());
    w.maybe("uid", user.uid.as_deref());
    // a cut address would be none
    w.maybe("email_addr", user.name.as_deref().filter(|name| is_address(name) && whole));
    w.int("type_id", i64::from(user.type_id));
    w.text("type", user.type_name());
}

/// Whether the schema's pattern for mail addresses takes it; system names (`app@sharepoint`) are none.
fn is_address(name: &str) -> bool {
    let local = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let label = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let all = |part: &str, is: &dyn Fn(u8) -> bool| !part.is_empty() && part.bytes().all(is);
    let Some((user, (first, rest))) = name.split_once('@').and_then(|(user, host)| Some((user, host.split_once('.')?)))
    else {
        return false;
    };
    all(user, &local) && all(first, &label) && all(rest, &|b| label(b) || b == b'.')
}

/// Who did it: left out when the record names nobody and the class does not ask.
pub(super) fn actor(w: &mut Writer<'_>, event: &Event<'_>, required: bool, labels: &mut Vec<&'static str>) {
    if event.actor.is_empty() && !required {
        return;
    }
    w.member("actor", |w| {
        if !user(w, "user", &event.actor) {
            labels.push("actor:unknown");
        }
    });
}

/// Where from: the address, or, where the class requires something and there is none, the service.
pub(super) fn src_endpoint(w: &mut Writer<'_>, event: &Event<'_>, required: bool) {
    if event.ip.is_none() && !required {
        return;
    }
    w.member("src_endpoint", |w| match event.ip.as_deref() {
        Some(ip) => {
            w.text("ip", ip);
            if let Some(port) = event.port {
                w.int("port", i64::from(port));
            }
        }
        None => w.text("svc_name", event.workload.as_deref().unwrap_or(UNKNOWN)),
    });
}

/// On classes without `src_endpoint`, the client is the device.
pub(super) fn device(w: &mut Writer<'_>, event: &Event<'_>) {
    if let Some(ip) = event.ip.as_deref() {
        w.member("device", |w| {
            w.text("ip", ip);
            w.int("type_id", 0);
            w.text("type", "Unknown");
        });
    }
}

pub(super) fn http_request(w: &mut Writer<'_>, event: &Event<'_>) {
    if let Some(agent) = event.user_agent.as_deref() {
        w.member("http_request", |w| w.text("user_agent", agent));
    }
}

/// `uid`, `name` and `type` of what was acted on; true when the record names it.
pub(super) fn target(w: &mut Writer<'_>, event: &Event<'_>) -> bool {
    let target = &event.target;
    let named = target.uid.is_some() || target.name.is_some();
    w.maybe("uid", target.uid.as_deref());
    w.maybe("name", target.name.as_deref());
    if !named {
        w.text("name", UNKNOWN);
    }
    named
}

/// Where the thing acted on lives, as `data`.
pub(super) fn environment_data(w: &mut Writer<'_>, event: &Event<'_>) {
    if event.environment().is_some() || event.target.url.is_some() {
        w.member("data", |w| {
            w.maybe("environment_id", event.environment());
            w.maybe("url", event.target.url.as_deref());
        });
    }
}

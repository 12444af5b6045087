//! Classes of category 6: web resources, application lifecycle, API, datastore.

use super::parts::{self, UNKNOWN};
use crate::{codec::json::Writer, event::Event};

type Labels = Vec<&'static str>;

/// 6001 Web Resources Activity.
pub(super) fn web_resources(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, false, &mut labels);
    parts::src_endpoint(w, event, false);
    parts::http_request(w, event);
    w.key("web_resources");
    w.array(|w| {
        w.object(|w| {
            if !parts::target(w, event) {
                labels.push("target:unknown");
            }
            if !event.target.kind.is_empty() {
                w.text("type", event.target.kind);
            }
            parts::environment_data(w, event);
        });
    });
    labels
}

/// 6002 Application Lifecycle: has neither `src_endpoint` nor `http_request`; the client is the device.
pub(super) fn lifecycle(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, false, &mut labels);
    parts::device(w, event);
    w.member("app", |w| {
        if !parts::target(w, event) {
            labels.push("target:unknown");
        }
        w.text("vendor_name", "Microsoft");
        if !event.target.kind.is_empty() {
            w.member("feature", |w| w.text("name", event.target.kind));
        }
        w.maybe("url_string", event.target.url.as_deref());
    });
    labels
}

/// 6003 API Activity: whatever has no class of its own.
pub(super) fn api_activity(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, true, &mut labels);
    parts::src_endpoint(w, event, true);
    parts::http_request(w, event);
    if event.target.uid.is_some() || event.target.name.is_some() {
        w.key("resources");
        w.array(|w| {
            w.object(|w| {
                parts::target(w, event);
                if !event.target.kind.is_empty() {
                    w.text("type", event.target.kind);
                }
                parts::environment_data(w, event);
            });
        });
    }
    labels
}

/// 6005 Datastore Activity: Dataverse rows.
pub(super) fn datastore(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, true, &mut labels);
    parts::src_endpoint(w, event, true);
    parts::http_request(w, event);
    let host = event.instance_host();
    if host.is_some() || event.target.name.is_none() {
        if host.is_none() {
            labels.push("database:unknown");
        }
        w.member("database", |w| {
            w.text("name", host.unwrap_or(UNKNOWN));
            w.int("type_id", if host.is_some() { 1 } else { 0 });
            w.text("type", if host.is_some() { "Relational" } else { "Unknown" });
        });
    }
    if let Some(table) = event.target.name.as_deref() {
        w.member("table", |w| w.text("name", table));
    }
    labels
}

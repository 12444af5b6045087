//! Classes of category 3: entities, access, groups, authentication.

use super::parts::{self, UNKNOWN};
use crate::{codec::json::Writer, event::Event};

type Labels = Vec<&'static str>;

/// 3004 Entity Management.
pub(super) fn entity(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, false, &mut labels);
    parts::src_endpoint(w, event, false);
    parts::http_request(w, event);
    w.member("entity", |w| {
        if !parts::target(w, event) {
            labels.push("target:unknown");
        }
        // data policies are the one kind that the schema knows; for `Other` the caption is our noun
        if event.target.kind == "policy" {
            w.int("type_id", 5);
            w.text("type", "Policy");
            w.member("policy", |w| {
                parts::target(w, event);
                w.text("type", "policy");
            });
        } else {
            w.int("type_id", 99);
            w.text("type", if event.target.kind.is_empty() { UNKNOWN } else { event.target.kind });
        }
        parts::environment_data(w, event);
    });
    labels
}

/// 3005 User Access Management: requires the grantee and the privileges.
pub(super) fn user_access(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, false, &mut labels);
    parts::src_endpoint(w, event, false);
    parts::http_request(w, event);
    if !parts::user(w, "user", &event.grantee) {
        labels.push("grantee:unknown");
    }
    if event.privileges.is_empty() {
        labels.push("privileges:unknown");
        w.texts("privileges", [UNKNOWN]);
    } else {
        w.texts("privileges", event.privileges.iter().map(|privilege| &**privilege));
    }
    w.key("resources");
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

/// 3006 Group Management: Dataverse teams.
pub(super) fn group(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, false, &mut labels);
    parts::src_endpoint(w, event, false);
    parts::http_request(w, event);
    w.member("group", |w| {
        if !parts::target(w, event) {
            labels.push("target:unknown");
        }
    });
    labels
}

/// 3002 Authentication: the actor is who signed in.
pub(super) fn authentication(w: &mut Writer<'_>, event: &Event<'_>) -> Labels {
    let mut labels = Labels::new();
    parts::actor(w, event, false, &mut labels);
    if !parts::user(w, "user", &event.actor) {
        labels.push("actor:unknown");
    }
    parts::src_endpoint(w, event, false);
    parts::http_request(w, event);
    w.member("service", |w| {
        let name = event.instance_host().or(event.workload.as_deref());
        w.text("name", name.unwrap_or(UNKNOWN));
    });
    labels
}

//! Power Automate, record type 30: flows, their permissions, trials.
//!
//! Flow and environment stand only in `FlowDetailsUrl`, in an old form (`/environments/E/resources/flows/F`) and a new
//! one (`/environments/E/flows/F/flowDetails`). `ObjectId` is the actor.

use std::borrow::Cow;

use super::{Event, User};

pub(super) fn read(event: &mut Event<'_>) {
    if let Some(url) = event.fields.text("FlowDetailsUrl") {
        event.environment = segment_after(&url, "environments").or(event.environment.take());
        event.target.uid = segment_after(&url, "flows");
        event.target.url = Some(url);
    }
    if event.known.is_some_and(|known| known.target_kind == "license") {
        event.target.name = event.fields.text("LicenseDisplayName");
    } else {
        event.target.kind = "flow";
    }
    // an object GUID in captures, a UPN in the documentation
    if let Some(recipient) = event.fields.text("RecipientUPN") {
        event.grantee = User::by(recipient);
    }
    // 1 is an unset default that turns up on create and edit
    event.privileges = match event.fields.text("SharingPermission").as_deref() {
        None | Some("1") => Vec::new(),
        Some("2") => vec![Cow::Borrowed("run-only")],
        Some("3") => vec![Cow::Borrowed("owner")],
        Some(other) => vec![Cow::Owned(format!("SharingPermission {other}"))],
    };
}

/// The path segment that follows the last segment `name`.
fn segment_after<'a>(url: &Cow<'a, str>, name: &str) -> Option<Cow<'a, str>> {
    fn find<'t>(url: &'t str, name: &str) -> Option<&'t str> {
        let path = url.split(['?', '#']).next()?;
        let mut segments = path.rsplit('/').peekable();
        let mut after = segments.next()?;
        for segment in segments {
            if segment == name && !after.is_empty() {
                return Some(after);
            }
            after = segment;
        }
        None
    }
    match url {
        Cow::Borrowed(text) => find(text, name).map(Cow::Borrowed),
        Cow::Owned(text) => find(text, name).map(|found| Cow::Owned(found.to_owned())),
    }
}

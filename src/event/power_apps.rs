//! Power Apps in the older form, record type 45.
//!
//! `AppName` is the app's GUID, not its name, on permission events behind a provider path. `AdditionalInfo` is JSON
//! text inside a string. `ObjectId` is the actor, and there is no `ClientIP`.

use std::borrow::Cow;

use super::{
    Event, User, bag,
    envelope::{environment_id, last_after},
};

pub(super) fn read(event: &mut Event<'_>) {
    event.target.kind = "app";
    event.target.uid = event.fields.text("AppName").map(|name| last_after(name, "/apps/"));
    if let Some(text) = event.fields.text("AdditionalInfo") {
        bag::each_embedded(&text, |key, value| {
            let value = Cow::Owned(value.into_owned());
            match &*key {
                "environmentName" => event.environment = Some(environment_id(value)),
                "permissionType" => event.privileges.push(value),
                "targetObjectId" => event.grantee = User::by(value),
                _ => {}
            }
        });
    }
}

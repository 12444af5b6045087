//! The 17 activities of Microsoft's page "Track user access": class and activity of each, in every form it comes in.

use super::{ocsf, rules};

/// Wire name, class, activity, caption: as decided for the common schema, none of them a generic class.
const ACTIVITIES: [(&str, u64, u64, &str); 17] = [
    ("CreateFlow", 3004, 1, "Create"),
    ("EditFlow", 3004, 3, "Update"),
    ("DeleteFlow", 3004, 4, "Delete"),
    ("PutPermissions", 3005, 1, "Assign Privileges"),
    ("DeletePermissions", 3005, 2, "Revoke Privileges"),
    ("StartAPaidTrial", 3004, 6, "Enroll"),
    ("RenewTrial", 3004, 6, "Enroll"),
    ("CreatePowerApp", 3004, 1, "Create"),
    ("UpdatePowerApp", 3004, 3, "Update"),
    ("PublishPowerApp", 3004, 3, "Update"),
    ("DeletePowerApp", 3004, 4, "Delete"),
    ("PromotePowerAppVersion", 3004, 99, "PromotePowerAppVersion"),
    ("LaunchPowerApp", 6002, 3, "Start"),
    ("MarkPowerAppAsFeatured", 3004, 3, "Update"),
    ("MarkPowerAppAsHero", 3004, 3, "Update"),
    ("PowerAppPermissionEdited", 3005, 1, "Assign Privileges"),
    ("PowerAppPermissionDeleted", 3005, 2, "Revoke Privileges"),
];

/// What a record of each family looks like, around its operation.
fn forms(operation: &str) -> Vec<String> {
    let common = format!(
        r#""Operation":"{operation}","Id":"1","CreationTime":"2026-05-19T13:17:34","UserId":"a@contoso.example",
        "UserKey":"k","UserType":0,"OrganizationId":"41463f53-8812-40f4-890f-865bf6e35190","ResultStatus":"Success""#
    )
    .replace('\n', "");
    let flow = format!(
        r#"{{{common},"RecordType":30,"Workload":"MicrosoftFlow","ClientIP":"192.0.2.1","RecipientUPN":"b@contoso.example",
        "SharingPermission":3,"FlowDetailsUrl":"https://admin.flow.microsoft.com/environments/e1/resources/flows/f1"}}"#
    );
    let old = format!(
        r#"{{{common},"RecordType":45,"Workload":"PowerApps","AppName":"app1",
        "AdditionalInfo":"{{\"environmentName\":\"e1\",\"permissionType\":\"CanEdit\",\"targetObjectId\":\"u2\"}}"}}"#
    );
    let new = format!(
        r#"{{{common},"RecordType":256,"Workload":"PowerPlatform","EnvironmentId":"e1","PropertyCollection":[
        {{"Name":"powerplatform.analytics.resource.power_app.id","Value":"app1"}},
        {{"Name":"powerplatform.analytics.resource.permission_type","Value":"CanEdit"}},
        {{"Name":"targetuser.id","Value":"u2"}},{{"Name":"enduser.ip_address","Value":"::ffff:192.0.2.1"}}]}}"#
    );
    let bare = format!(r#"{{"Operation":"{operation}"}}"#);
    if operation.contains("PowerApp") { vec![old, new, bare] } else { vec![flow, bare] }
}

#[test]
fn the_17_activities_have_their_own_class_and_activity() {
    let schemas = rules::schemas();
    for (operation, class, activity, caption) in ACTIVITIES {
        for record in forms(operation) {
            let event = ocsf(&record);
            rules::check(&event, &schemas, operation);
            assert_eq!(event["class_uid"], class, "{record}");
            assert_eq!(event["activity_id"], activity, "{record}");
            assert_eq!(event["activity_name"], caption, "{record}");
            assert_eq!(event["api"]["operation"], operation, "{record}");
            if class == 3005 && record.contains("CreationTime") {
                let labels = event["metadata"]["labels"].to_string();
                assert!(!labels.contains("unknown"), "{operation}: {labels}");
                let grantee = &event["user"];
                assert!(grantee["uid"] == "u2" || grantee["name"] == "u2" || grantee["name"] == "b@contoso.example");
            }
        }
    }
}

#[test]
fn labels_of_the_page_and_older_names_resolve() {
    for (alias, operation) in [
        ("DeletedApp", "DeletePowerApp"),
        ("Created flow", "CreateFlow"),
        ("Started a paid trial", "StartAPaidTrial"),
        ("RenewAPaidTrial", "RenewTrial"),
        ("Marked app as featured", "MarkPowerAppAsFeatured"),
    ] {
        let event = ocsf(&format!(r#"{{"Operation":"{alias}"}}"#));
        assert_eq!(event["api"]["operation"], operation, "{alias}");
        assert_eq!(event["unmapped"]["Operation"], alias);
        assert_ne!(event["class_uid"], 6003, "{alias}");
    }
}

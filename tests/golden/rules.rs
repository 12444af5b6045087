//! The lines against OCSF 1.8.0: the JSON Schemas, and what those can't say.

use std::{collections::BTreeMap, fs, path::Path};

use jsonschema::Validator;
use serde_json::Value;

use super::{mapped, ocsf, samples};

/// Validators by class.
pub(super) fn schemas() -> BTreeMap<u64, Validator> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ocsf-1.8.0");
    let schemas: BTreeMap<_, _> = fs::read_dir(folder)
        .expect("the folder of schemas")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let class = name.split('_').next().and_then(|uid| uid.parse().ok()).expect("a class in the name");
            let schema = serde_json::from_str(&fs::read_to_string(&path).expect("text")).expect("JSON");
            (class, jsonschema::validator_for(&schema).expect("a schema"))
        })
        .collect();
    assert_eq!(schemas.len(), 10);
    schemas
}

/// Checks one event against its class and the rules beside it.
pub(super) fn check(event: &Value, schemas: &BTreeMap<u64, Validator>, what: &str) {
    let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("{what}: {key} in {event}"));
    let (class, activity) = (number("class_uid"), number("activity_id"));
    let wrong: Vec<_> = schemas[&class].iter_errors(event).map(|e| format!("{} at {}", e, e.instance_path())).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{event:#}");

    assert_eq!(number("type_uid"), class * 100 + activity, "{what}");
    assert_eq!(number("category_uid"), class / 1000, "{what}");
    let caption = |id: &str, name: &str, captions: &[(u64, &str)]| {
        let expected = captions.iter().find(|(known, _)| *known == number(id)).map(|(_, caption)| *caption);
        assert_eq!(event[name].as_str(), expected, "{what}: {name}");
    };
    caption("status_id", "status", &[(0, "Unknown"), (1, "Success"), (2, "Failure")]);
    caption(
        "severity_id",
        "severity",
        &[(1, "Informational"), (2, "Low"), (3, "Medium"), (4, "High"), (5, "Critical")],
    );
    caption(
        "category_uid",
        "category_name",
        &[(0, "Uncategorized"), (3, "Identity & Access Management"), (6, "Application Activity")],
    );
    caption("class_uid", "class_name", CLASSES);
    let activities = ACTIVITIES.iter().find(|(known, _)| *known == class).map_or(&[][..], |(_, names)| names);
    match usize::try_from(activity) {
        Ok(99) => assert!(event["activity_name"].as_str().is_some_and(|name| !name.is_empty()), "{what}"),
        Ok(id) => assert_eq!(event["activity_name"].as_str(), activities.get(id).copied(), "{what}"),
        Err(_) => panic!("{what}: activity {activity}"),
    }
    let type_name =
        format!("{}: {}", event["class_name"].as_str().unwrap_or(""), event["activity_name"].as_str().unwrap_or(""));
    assert_eq!(event["type_name"].as_str(), Some(&*type_name), "{what}");
    // profiles gate attributes: these are always ours, `host` where the class has its `actor` only with it
    let host = matches!(class, 0 | 6001 | 6002);
    let profiles = if host { serde_json::json!(["cloud", "host"]) } else { serde_json::json!(["cloud"]) };
    assert_eq!(event["metadata"]["profiles"], profiles, "{what}");
    for user in [&event["user"], &event["actor"]["user"]] {
        if let Some(id) = user["type_id"].as_u64() {
            let caption = ["Unknown", "User", "Admin", "System", "Service"].get(usize::try_from(id).unwrap_or(99));
            assert_eq!(user["type"].as_str(), caption.copied(), "{what}");
        }
    }
    match event["entity"]["type_id"].as_u64() {
        None | Some(99) => {}
        Some(id) => assert_eq!((id, &event["entity"]["type"]), (5, &"Policy".into()), "{what}"),
    }
}

const CLASSES: &[(u64, &str)] = &[
    (0, "Base Event"),
    (3001, "Account Change"),
    (3002, "Authentication"),
    (3004, "Entity Management"),
    (3005, "User Access Management"),
    (3006, "Group Management"),
    (6001, "Web Resources Activity"),
    (6002, "Application Lifecycle"),
    (6003, "API Activity"),
    (6005, "Datastore Activity"),
];

/// Captions of activities by id, as OCSF 1.8.0 has them.
const ACTIVITIES: &[(u64, &[&str])] = &[
    (3002, &["Unknown", "Logon", "Logoff"]),
    (
        3004,
        &[
            "Unknown",
            "Create",
            "Read",
            "Update",
            "Delete",
            "Move",
            "Enroll",
            "Unenroll",
            "Enable",
            "Disable",
            "Activate",
            "Deactivate",
            "Suspend",
            "Resume",
        ],
    ),
    (3005, &["Unknown", "Assign Privileges", "Revoke Privileges"]),
    (3006, &["Unknown", "Assign Privileges", "Revoke Privileges", "Add User", "Remove User", "Delete", "Create"]),
    (6001, &["Unknown", "Create", "Read", "Update", "Delete", "Search", "Import", "Export", "Share"]),
    (6002, &["Unknown", "Install", "Remove", "Start", "Stop", "Restart", "Enable", "Disable", "Update"]),
    (6005, &["Unknown", "Read", "Update", "Connect", "Query", "Write", "Create", "Delete"]),
];

#[test]
fn every_line_of_the_samples_is_valid() {
    let schemas = schemas();
    for (name, text) in samples() {
        for no_raw_data in [false, true] {
            for (number, line) in mapped("ocsf", no_raw_data, &text).0.lines().enumerate() {
                let event = serde_json::from_str(line).expect("JSON");
                check(&event, &schemas, &format!("{name}:{}", number + 1));
            }
        }
    }
}

/// Each of the catalogue's operations, as the barest record that names it, and with what records usually carry.
#[test]
fn every_operation_of_the_catalogue_is_valid() {
    use auditferry::event::catalogue::{self, FoundIn};
    let schemas = schemas();
    let mut classes = std::collections::BTreeSet::new();
    for entry in catalogue::all() {
        let name = entry.operation.unwrap_or(entry.display_name);
        let mut record = serde_json::json!({ "Operation": name });
        record["RecordType"] = entry.record_type.into();
        record["Workload"] = entry.workload.into();
        match entry.found_in {
            FoundIn::Operation => {}
            FoundIn::Message => {
                record["Operation"] = "CrmDefaultActivity".into();
                record["Message"] = name.into();
            }
            FoundIn::Bag => {
                record["Operation"] = "GovernanceApiPolicyOperation".into();
                let key = "powerplatform.analytics.resource.tenant.governance.api_policy.operation_name";
                record["PropertyCollection"] = serde_json::json!([{ "Name": key, "Value": name }]);
            }
        }
        let bare = ocsf(&record.to_string());
        check(&bare, &schemas, entry.key);
        assert_eq!(bare["class_uid"], entry.class_uid, "{}", entry.key);
        assert_eq!(bare["activity_id"], entry.activity_id, "{}", entry.key);
        for (key, value) in [
            ("UserId", "someone@contoso.example"),
            ("UserKey", "1003BFFD9A7D358F"),
            ("ClientIP", "[2001:db8::1]:443"),
            ("UserAgent", "agent"),
            ("EnvironmentId", "e1"),
            ("EntityName", "account"),
            ("EntityId", "22222222-0000-0000-0000-000000000000"),
            ("InstanceUrl", "https://org.crm.dynamics.com/"),
            ("ObjectId", "o1"),
            ("FlowDetailsUrl", "https://admin.flow.microsoft.com/environments/e1/flows/f1"),
            ("ResultStatus", "Failed"),
        ] {
            record[key] = value.into();
        }
        check(&ocsf(&record.to_string()), &schemas, entry.key);
        classes.insert(entry.class_uid);
    }
    assert_eq!(classes.len(), 8, "{classes:?}");
}

/// The schema has a pattern for addresses: a name that it refuses is a name and no address.
#[test]
fn names_that_look_like_addresses_are_valid() {
    let schemas = schemas();
    for (name, address) in [
        ("a@contoso.example", true),
        ("guest_x.example#EXT#@contoso.onmicrosoft.com", true),
        ("o'brien+x@a-b.co.uk", true),
        ("app@sharepoint", false),
        ("@contoso.example", false),
        ("a@.example", false),
        ("a@contoso.", false),
        ("a@b@contoso.example", false),
        ("a@con_toso.example", false),
        ("jörg@contoso.example", false),
        ("NT AUTHORITY\\\\SYSTEM (x@y.z)", false),
    ] {
        let event = ocsf(&format!(r#"{{"Operation":"CreateFlow","UserId":"{name}"}}"#));
        check(&event, &schemas, name);
        assert_eq!(event["actor"]["user"].get("email_addr").is_some(), address, "{name}");
    }
}

/// Records that are JSON but nothing else that one would expect.
#[test]
fn odd_records_are_valid_too() {
    let schemas = schemas();
    for record in [
        "{}",
        r#"{"Operation":"","Workload":"","Id":"","UserId":"","ClientIP":""}"#,
        r#"{"Operation":["x"],"RecordType":{},"UserId":17,"ClientIP":true,"UserType":"99","CreationTime":20260519}"#,
        r#"{"Operation":"x\ny","UserId":"not an address@","RecordType":-1,"Workload":"New"}"#,
        r#"{"Operation":"LaunchPowerApp","RecordType":256,"PropertyCollection":"gone","Workload":"PowerPlatform"}"#,
        r#"{"RecordType":21,"Operation":"CrmDefaultActivity","Message":"UserSignIn","InstanceUrl":"///"}"#,
        r#"{"Workload":"auditferry","Operation":"GapOpened","Id":"1","CreationTime":"2026-05-19T13:17:34Z"}"#,
        r#"{"CreationTime":"0001-01-01T00:00:00","UserId":"ServicePrincipal_x","ClientIP":"::ffff:10.0.0.1"}"#,
    ] {
        check(&ocsf(record), &schemas, record);
    }
}

//! Records are realistic, of every family, and their truth is right.

use std::collections::BTreeMap;

use super::*;
use crate::simulator::Fate;

fn many(odd_records: bool) -> Vec<(Value, String, crate::simulator::RecordTruth)> {
    let mut bench = Bench::new(|profile| {
        let tenant = &mut profile.tenants[0];
        tenant.records_per_content = 250;
        tenant.faults.odd_records = odd_records;
    });
    let mut all = Vec::new();
    for truth in bench.contents() {
        let reply = bench.blob(&truth.content.id);
        let known: Vec<_> = bench.simulator.records(&truth, false).collect();
        let rows: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(rows.len(), known.len());
        for (row, known) in rows.iter().zip(known) {
            all.push((serde_json::from_str(row.get()).unwrap(), row.get().to_owned(), known));
        }
    }
    all
}

#[test]
fn every_family_is_there_with_what_power_platform_selects() {
    let mut by_type: BTreeMap<i64, (usize, Fate)> = BTreeMap::new();
    let mut operations = BTreeMap::new();
    for (row, text, known) in many(false) {
        assert_eq!(row["RecordType"].as_i64(), Some(known.record_type));
        assert_eq!(row["Id"].as_str(), known.id.as_deref());
        assert!(text.contains(&known.mark));
        let entry = by_type.entry(known.record_type.min(9_000)).or_insert((0, known.fate));
        assert_eq!(entry.1, known.fate, "{}", known.record_type);
        entry.0 += 1;
        *operations.entry(known.operation).or_insert(0) += 1;
        assert!(!row["CreationTime"].as_str().unwrap().ends_with('Z'));
        assert_eq!(row["OrganizationId"], TENANT);
    }
    for selected in [21, 30, 45, 79, 186, 187, 256, 261] {
        assert_eq!(by_type.get(&selected).map(|it| it.1), Some(Fate::Selected), "{selected}");
    }
    for foreign in [1, 6, 8, 15, 25, 9_000] {
        assert_eq!(by_type.get(&foreign).map(|it| it.1), Some(Fate::Unselected), "{foreign}");
    }
    for operation in [
        "CreateFlow",
        "EditFlow",
        "DeleteFlow",
        "PutPermissions",
        "DeletePermissions",
        "StartAPaidTrial",
        "RenewTrial",
        "CreatePowerApp",
        "LaunchPowerApp",
        "UpdatePowerApp",
        "PublishPowerApp",
        "DeletePowerApp",
        "PromotePowerAppVersion",
        "MarkPowerAppAsFeatured",
        "MarkPowerAppAsHero",
        "PowerAppPermissionEdited",
        "PowerAppPermissionDeleted",
    ] {
        assert!(operations.contains_key(operation), "{operation}");
    }
}

#[test]
fn quirks_of_real_records_come_up() {
    let all = many(false);
    let addresses: Vec<&str> = all.iter().filter_map(|it| it.0["ClientIP"].as_str()).collect();
    assert!(addresses.contains(&""));
    assert!(addresses.iter().any(|it| it.starts_with("[2001:db8::") && it.contains("]:")));
    assert!(addresses.iter().any(|it| it.starts_with("::ffff:")));
    assert!(addresses.iter().any(|it| it.starts_with("203.") && it.contains(':')));
    assert!(all.iter().any(|it| it.0["RecordType"] == 15 && it.0["ClientIP"].is_null()));
    assert!(all.iter().any(|it| it.1.contains(r"https:\/\/admin.powerplatform.microsoft.com\/environments\/")));
    assert!(all.iter().any(|it| it.0["SharingPermission"].is_string()));
    assert!(all.iter().any(|it| it.0["SharingPermission"].is_number()));
    assert!(all.iter().any(|it| it.0["ObjectId"] == "ExecuteMultiple "));
    let app = all.iter().find(|it| it.0["RecordType"] == 256).unwrap();
    let bag = app.0["PropertyCollection"].as_array().unwrap();
    assert!(bag.len() > 12 && bag.iter().all(|it| it["Value"].is_string()));
}

#[test]
fn marks_are_unique_and_the_hostile_shapes_keep_them() {
    let all = many(true);
    let mut marks: Vec<&str> = all.iter().map(|it| it.2.mark.as_str()).collect();
    marks.sort_unstable();
    let before = marks.len();
    marks.dedup();
    assert_eq!(marks.len(), before);
    assert!(all.iter().all(|it| it.1.contains(&it.2.mark)));
    assert!(all.iter().any(|it| it.0.get("Id").is_none() && it.2.id.is_none()));
    assert!(all.iter().any(|it| it.0["CreationTime"] == "not-a-time"));
    assert!(all.iter().any(|it| it.0["RecordType"].is_string()));
    let text: Value = all.iter().find(|it| it.0["RecordType"].is_string()).unwrap().0["RecordType"].clone();
    assert!(text.as_str().unwrap().parse::<i64>().is_ok());
}

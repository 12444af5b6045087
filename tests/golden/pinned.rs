//! Original → event → OCSF and CEF, whole, one small file for each family; read them to see what a record becomes.
//!
//! `UPDATE_GOLDEN=1` writes the files anew; look at the difference before committing it.

use std::{fs, path::Path};

use serde_json::Value;

use super::{mapped, ocsf, samples};

/// File to compare with; sample file and line.
const PINNED: [(&str, &str, usize); 9] = [
    ("30-create-flow", "aliyoussefi-screenshots.jsonl", 5),
    ("30-put-permissions", "fragments.jsonl", 1),
    ("30-start-trial-bare", "pnp-handmade.jsonl", 5),
    ("45-launch-app", "aliyoussefi-screenshots.jsonl", 4),
    ("45-permission-edited", "aliyoussefi-powerapps.jsonl", 3),
    ("256-unverified-operation", "pnp-handmade.jsonl", 1),
    ("256-bot-create", "pnp-handmade.jsonl", 6),
    ("21-user-sign-in", "aliyoussefi-contentblob-crm.jsonl", 3),
    ("foreign-exchange", "pnp-m365-analytics.jsonl", 7),
];

#[test]
fn pinned_events_have_not_changed() {
    let samples = samples();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/expected");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, file, line) in PINNED {
        let record = samples[file].lines().nth(line - 1).expect("a record");
        let event = ocsf(record);
        let cef = mapped("cef", true, record).0;
        let path = folder.join(format!("{name}.json"));
        if update {
            let original: Value = serde_json::from_str(record).expect("a record");
            let both = serde_json::json!({ "original": original, "ocsf": event, "cef": cef.trim_end_matches('\n') });
            fs::write(&path, format!("{both:#}\n")).expect("a file to write");
        }
        let expected: Value = serde_json::from_str(&fs::read_to_string(&path).expect("a file")).expect("JSON");
        assert_eq!(expected["original"], serde_json::from_str::<Value>(record).expect("a record"), "{name}");
        assert_eq!(format!("{event:#}"), format!("{:#}", expected["ocsf"]), "{name}");
        assert_eq!(expected["cef"], cef.trim_end_matches('\n'), "{name}");
    }
}

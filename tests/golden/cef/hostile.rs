//! Records whose texts try to break out of their field: parse(encode(x)) is x, and no field is forged.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Line, check, encoded};

/// Texts of any characters, mixed with what means something to a reader of CEF, of lines, of terminals.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => any::<String>().prop_map(|text| text.chars().take(12).collect()),
        1 => "[a-z0-9 ]{1,400}",
        6 => prop::sample::select(vec![
            "|", "=", "\\", "\r", "\n", "\r\n", " ", "  ", "\t", " act=", " suser=evil", "CEF:0|a|b|1|c|d|9|", "\\n", "\\=",
            "\\|", " cs1Label=x", "\0", "\u{1b}[2J", "\u{7f}", "\u{85}", "\u{9b}31m", "\u{2028}", "\u{2029}", "…", "漢字",
            "\u{202e}", "\u{a0}", "\u{3000}", "e\u{301}", "😀", "\"", "{\"", "</x>", "%0a", "${jndi:x}", "'",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

/// Where each text of a record must be found again: key and length.
type Places = BTreeMap<&'static str, (String, usize)>;

/// A record of one of three families, and where its texts belong.
fn records() -> impl Strategy<Value = (Value, Places, String)> {
    (0..3, prop::collection::vec(text(), 16)).prop_map(|(family, texts)| {
        let mut texts = texts.into_iter();
        // the prefix keeps them apart from what the catalogue and the mapping know by name
        let mut next = |prefix: &str| format!("{prefix}{}", texts.next().unwrap_or_default());
        let (operation, note) = (next("ZzZ"), next(""));
        let mut record = json!({ "CreationTime": "2026-05-19T13:17:34", "Operation": operation, "Note": note });
        let mut places = Places::from([("act", (operation.clone(), 63))]);
        for (member, key, most) in [
            ("Id", "cs6", 4000),
            ("UserId", "suser", 1023),
            ("UserKey", "suid", 1023),
            ("OrganizationId", "deviceExternalId", 255),
            ("UserAgent", "requestClientApplication", 1023),
            ("ResultStatus", "reason", 1023),
        ] {
            let text = next("z");
            record[member] = text.clone().into();
            places.insert(key, (text, most));
        }
        match family {
            0 => {
                record["RecordType"] = 256.into();
                record["Workload"] = "PowerPlatform".into();
                let mut bag = Vec::new();
                for (name, key, most) in [
                    ("powerplatform.analytics.resource.power_app.id", "fileId", 1023),
                    ("powerplatform.analytics.resource.power_app.display_name", "fname", 1023),
                    ("powerplatform.analytics.resource.environment.id", "cs1", 4000),
                    ("powerplatform.analytics.resource.environment.name", "cs3", 4000),
                    ("powerplatform.analytics.resource.permission_type", "dpriv", 1023),
                    ("powerplatform.analytics.resource.telemetry_correlation.id", "flexString1", 1023),
                    ("targetuser.id", "duser", 1023),
                ] {
                    // without an id of the app, its name is not looked at
                    let text = next(if matches!(key, "cs3" | "fileId") { "name " } else { "" });
                    bag.push(json!({ "Name": name, "Value": text }));
                    places.insert(key, (text, most));
                }
                record["PropertyCollection"] = bag.into();
            }
            1 => {
                record["RecordType"] = 21.into();
                record["Workload"] = "CRM".into();
                for (member, key) in [("EntityName", "fname"), ("EntityId", "fileId"), ("CorrelationId", "flexString1")]
                {
                    let text = next("");
                    record[member] = text.clone().into();
                    places.insert(key, (text, 1023));
                }
                let host = next("h").replace('/', "");
                record["InstanceUrl"] = format!("https://{host}/x").into();
                places.insert("dhost", (host, 1023));
            }
            _ => {
                record["RecordType"] = 30.into();
                let (workload, url, connectors, recipient) = (next("Y"), next("u"), next(""), next(""));
                record["Workload"] = workload.clone().into();
                record["FlowDetailsUrl"] = url.replace('/', "").into();
                record["FlowConnectorNames"] = connectors.clone().into();
                record["RecipientUPN"] = recipient.clone().into();
                places.insert("cat", (workload, 1023));
                places.insert("request", (url.replace('/', ""), 1023));
                places.insert("cs4", (connectors, 4000));
                places.insert("duser", (recipient, 1023));
            }
        }
        (record, places, operation)
    })
}

/// What the documentation says of a text: pictures for the controls of ASCII, U+FFFD for those of Latin-1, a line feed for
/// other line breaks; nothing that readers would drop at the end.
fn documented(text: &str) -> String {
    let shown = text.chars().map(|c| match u32::from(c) {
        9 | 10 | 13 => c,
        0x85 | 0x2028 | 0x2029 => '\n',
        code @ 0..=31 => char::from_u32(0x2400 + code).expect("a picture"),
        127 => '␡',
        128..=159 => '\u{fffd}',
        _ => c,
    });
    let shown: String = shown.collect();
    shown.trim_end_matches(|c: char| c.is_whitespace() && c != '\n' && c != '\r').to_owned()
}

/// The text itself, or its longest beginning that leaves room for the mark.
fn is_documented(found: &str, text: &str, most: usize, what: &str) -> bool {
    let whole = documented(text);
    if whole.len() <= most {
        assert_eq!(found, whole, "{what}");
        return true;
    }
    let head = found.strip_suffix('…').unwrap_or_else(|| panic!("{what}: no mark at the end of {found:?}"));
    assert!(whole.starts_with(head), "{what}: {head:?} is no beginning of {whole:?}");
    assert!((most - 6..=most).contains(&found.len()), "{what}: {} of {most} bytes", found.len());
    false
}

/// Keys that stand in a line beside those with a text of the record.
const OURS: [&str; 12] = [
    "rt",
    "start",
    "externalId",
    "destinationServiceName",
    "deviceFacility",
    "fileType",
    "msg",
    "cs2",
    "cat",
    "deviceCustomDate1",
    "cs5",
    "fileId",
];

fn compare(read: &Line, places: &Places, operation: &str) {
    let mut cut = Vec::new();
    for (key, (text, most)) in places {
        match read.get(key) {
            None => assert_eq!(documented(text), "", "{key} is missing"),
            Some(found) if is_documented(found, text, *most, key) => {}
            Some(_) => cut.push(*key),
        }
    }
    for (key, _) in &read.pairs {
        let base = key.strip_suffix("Label").unwrap_or(key);
        let known = places.contains_key(base) || OURS.contains(&base) || ["flexString2", "cn1"].contains(&base);
        assert!(known, "{key} was forged");
    }
    assert_eq!(read.get("rt"), Some("1779196654000"));
    assert_eq!(read.get("externalId"), Some("07070707-0707-8707-8707-070707070707"));
    let shortened: Vec<_> = read.get("flexString2").into_iter().flat_map(|keys| keys.split(',')).collect();
    assert!(cut.iter().all(|key| shortened.contains(key)), "{cut:?} in {shortened:?}");
    let mine = |key: &&&str| !["cs5", "msg"].contains(*key);
    assert_eq!(shortened.iter().filter(mine).count(), cut.len(), "{shortened:?}");
    let header = in_header(operation);
    if header.len() <= 1023 {
        assert_eq!(read.header[3], header);
    }
}

/// A header can't hold a line break or control, and has no white space at its ends.
fn in_header(text: &str) -> String {
    let space = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    text.chars().map(space).collect::<String>().trim().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_read_is_what_the_record_says((record, places, operation) in records()) {
        let line = encoded(record.to_string().as_bytes(), None).expect("a line");
        // whoever looks for keys without knowing escapes finds the same ones
        let read = check(&line);
        prop_assert_eq!(naive_keys(&line), Some(read.pairs.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()));
        compare(&read, &places, &operation);
        // what the table has no key for comes back without any replacement, as JSON
        let properties: Value = serde_json::from_str(read.get("cs5").unwrap_or("{}"))?;
        if properties.get("left_out").is_none() && record["Note"] != "" {
            prop_assert_eq!(&properties["Note"], &record["Note"]);
        }
    }

    #[test]
    fn shorter_forms_are_sound_and_say_so((record, places, _) in records(), limit in 200_usize..6_000) {
        let record = record.to_string();
        let whole = encoded(record.as_bytes(), None).expect("a line");
        let Some(line) = encoded(record.as_bytes(), Some(limit)) else {
            prop_assert!(limit < 1_536, "{limit} bytes are enough for any event: {record}");
            return Ok(());
        };
        prop_assert!(line.len() <= limit);
        let read = check(&line);
        if whole.len() <= limit {
            prop_assert_eq!(line, whole);
            return Ok(());
        }
        prop_assert!(read.get("flexString2").is_some());
        prop_assert_eq!(read.get("cn1"), Some(&*record.len().to_string()));
        prop_assert_eq!(read.get("externalId"), Some("07070707-0707-8707-8707-070707070707"));
        for key in ["rt", "act", "suser", "suid", "deviceExternalId"] {
            prop_assert!(read.get(key).is_some(), "{} went", key);
        }
        for (key, (text, _)) in &places {
            if let Some(found) = read.get(key) {
                let text = documented(text);
                prop_assert!(found == text || text.starts_with(found.strip_suffix('…').unwrap_or("\0")), "{}", key);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_one_sound_line(bytes in prop::collection::vec(any::<u8>(), 0..300), text in text()) {
        for record in [&*bytes, text.as_bytes()] {
            let read = check(&encoded(record, None).expect("a line"));
            if let (Ok(text), Some("Record")) = (std::str::from_utf8(record), read.get("cs5Label")) {
                is_documented(read.get("cs5").unwrap_or(""), text, 4000, "cs5");
            }
        }
    }
}

/// Keys as several readers find them: words before any `=` behind the seventh pipe that has no backslash before it.
fn naive_keys(line: &str) -> Option<Vec<String>> {
    let mut pipes = 0;
    let bytes = line.as_bytes();
    let end = (0..bytes.len()).find(|at| {
        let escapes = bytes[..*at].iter().rev().take_while(|byte| **byte == b'\\').count();
        pipes += usize::from(bytes[*at] == b'|' && escapes % 2 == 0);
        pipes == 7
    })?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut pieces: Vec<_> = line[end + 1..].split('=').collect();
    pieces.pop();
    let keys = pieces.iter().map(|piece| &piece[piece.trim_end_matches(word).len()..]);
    Some(keys.filter(|key| !key.is_empty()).map(str::to_owned).collect())
}

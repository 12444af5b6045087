//! Tests of the error table.

use super::*;
use crate::source::office365::envelope;

fn names() -> Names {
    let text = str::to_owned;
    Names {
        tenant: text("TENANT"),
        client: text("CLIENT"),
        api: text("API"),
        authority: text("AUTHORITY"),
        audience: text("AUDIENCE"),
    }
}

fn told(codes: &[&str]) -> Told {
    Told { codes: codes.iter().map(|code| (*code).to_owned()).collect(), said: String::new() }
}

const OPERATIONS: [Operation; 5] = [
    Operation::Token,
    Operation::ListSubscriptions,
    Operation::StartSubscription,
    Operation::ListContent,
    Operation::FetchContent,
];

#[test]
fn every_row_has_words_whose_blanks_are_filled() {
    let names = names();
    let (codes, statuses) = &*TABLE;
    assert!(codes.len() > 40 && statuses.len() > 8);
    for row in codes.values().chain(statuses.values()) {
        for operation in OPERATIONS {
            let place = Place { operation, names: &names, content: "Audit.General" };
            for text in [&row.what, &row.hint] {
                let filled = place.fill(text);
                assert!(!filled.is_empty() && !filled.contains(['{', '}']), "{}: {filled}", row.code);
                assert!(!filled.ends_with('.'), "{}: {filled}", row.code);
            }
        }
    }
}

#[test]
fn every_status_has_a_meaning() {
    let names = names();
    for operation in OPERATIONS {
        let place = Place { operation, names: &names, content: "" };
        for status in 100..=599 {
            for told in [told(&[]), told(&["Unheard"])] {
                let error = place.refused(status, &told, None);
                assert!(!matches!(error.class, Class::Ok | Class::Dead), "{status}");
                // what goes wrong on the server's side is never a person's fault, and never a loss
                if status >= 500 {
                    assert_eq!(error.class, Class::Retry, "{status}");
                }
            }
        }
    }
}

#[test]
fn the_code_decides_before_the_status() {
    let names = names();
    let place = Place { operation: Operation::ListContent, names: &names, content: "Audit.General" };
    for (code, class) in [
        ("AF10001", Class::FixConfig),
        ("AF20022", Class::StartSubscription),
        ("AF20023", Class::StartSubscription),
        ("AF20024", Class::Ok),
        ("AF20030", Class::Clamp),
        ("AF20031", Class::RestartListing),
        ("AF20050", Class::Gone),
        ("AF20051", Class::Gone),
        ("AF20052", Class::Gone),
        ("AF20055", Class::Clamp),
        ("AF429", Class::Backoff),
        ("AF50000", Class::Retry),
        ("AuditOff", Class::FixConfig),
    ] {
        for status in [200, 400, 401, 403, 404, 429, 500, 502] {
            assert_eq!(place.refused(status, &told(&[code]), None).class, class, "{code} with {status}");
        }
    }
}

#[test]
fn waiting_follows_the_kind_of_error() {
    let names = names();
    let place = Place { operation: Operation::ListContent, names: &names, content: "" };
    let policy = |status, code: &[&str]| place.refused(status, &told(code), None).policy(retry::LISTING);
    assert_eq!(policy(500, &[]), retry::LISTING);
    assert_eq!(policy(403, &["AF429"]), retry::THROTTLED);
    assert_eq!(policy(401, &["AF10001"]), retry::BLOCKED);
    assert_eq!(policy(400, &["AuditOff"]), retry::AUDIT_OFF);
}

#[test]
fn words_are_cleaned_and_short() {
    let told = envelope::api("a\u{0}b\r\n\tc\u{7f}  d".as_bytes());
    assert_eq!(told.said, "“a b c d”");
    let long = "é".repeat(500);
    let told = envelope::api(long.as_bytes());
    assert!(told.said.len() <= 200 + "“…”".len() && told.said.ends_with("é…”"), "{}", told.said);
    let told = envelope::api(b"token eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9 refused");
    assert_eq!(told.said, "“token *** refused”");
}

#[test]
fn a_code_inside_text_counts_only_when_it_stands_alone() {
    let codes = |text: &str| envelope::api(text.as_bytes()).codes;
    assert_eq!(codes("<b>AF429</b>: Too many requests"), ["AF429"]);
    assert_eq!(codes("<html>Ref A: 3AF50000C1 Ref B: AF5000012</html>"), [""; 0]);
    assert_eq!(codes(r#"{"error":{"message":"AF20051: gone"}}"#), ["AF20051"]);
    assert_eq!(codes(r#"{"Message":"No HTTP resource was found"}"#), [""; 0]);
    assert_eq!(codes(r#"{"error":"plain"}"#), [""; 0]);
    assert_eq!(codes(r#"{"error":{"code":42,"message":null}}"#), ["42"]);
    assert_eq!(codes(""), [""; 0]);
}

#[test]
fn audit_off_is_found_in_either_half_and_in_plain_text() {
    for body in [
        r#"{"error":{"code":"StartSubscription [AppId","message":"x] failed. Exception: M.O.C.A.DataServiceException: Tenant 1 does not exist.\r\n at"}}"#,
        r#"{"error":{"code":"DataServiceException: Tenant 1 does not exist.","message":""}}"#,
        "Microsoft.Office.Compliance.Audit.DataServiceException: Tenant 1 does not exist.\r\n   at",
    ] {
        let told = envelope::api(body.as_bytes());
        assert_eq!(
            (told.codes, told.said),
            (vec![AUDIT_OFF.to_owned()], "“Tenant 1 does not exist.”".into()),
            "{body}"
        );
    }
}

#[test]
fn a_success_is_an_error_only_with_the_documented_envelope() {
    assert_eq!(envelope::inside_success(br#"{"error":{"code":"AF429","message":"m"}}"#).unwrap().codes, ["AF429"]);
    for body in ["[]", r#"{"Message":"Create"}"#, r#"{"error":null}"#, r#"{"error":"x"}"#, "<html>", ""] {
        assert_eq!(envelope::inside_success(body.as_bytes()), None, "{body}");
    }
}

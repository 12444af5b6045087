//! `map` over bad and good input.

use super::*;

fn args(codec: &str) -> Map {
    Map { codec: codec.to_owned(), no_raw_data: true, tenant: None, file: "-".into() }
}

fn mapped(codec: &str, input: &str) -> (u64, String, String) {
    let (mut out, mut say) = (Vec::new(), Vec::new());
    let bad = map(&args(codec), &mut input.as_bytes(), &mut out, &mut say).expect("nothing to fail");
    (bad, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&say).into_owned())
}

#[test]
fn a_bad_line_is_said_with_its_number_and_the_rest_goes_on() {
    let input = "{\"Id\":\"1\"}\n{\"Id\":}\nnot json\n[{\"Id\":\"2\"},\n[1],\n{\"Id\":\"3\"}]\n";
    let (bad, out, said) = mapped("raw", input);
    assert_eq!(out, "{\"Id\":\"1\"}\n{\"Id\":\"2\"}\n{\"Id\":\"3\"}\n");
    assert_eq!(bad, 3);
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[0], "line 2: not JSON: expected a value at byte 6");
    assert_eq!(said[1], "line 3: not a JSON object");
    assert_eq!(said[2], "line 5: JSON, but not an object");
}

#[test]
fn equal_records_without_id_have_ids_of_their_own_the_same_in_every_run() {
    let input = "{\"Operation\":\"EditFlow\"}\n".repeat(3);
    let (bad, out, _) = mapped("ocsf", &input);
    assert_eq!(bad, 0);
    let ids: std::collections::BTreeSet<_> =
        out.lines().filter_map(|line| line.split("\"uid\":\"").nth(1)?.get(..36)).collect();
    assert_eq!(ids.len(), 3, "{out}");
    assert_eq!(mapped("ocsf", &input).1, out);
    assert!(out.contains("\"time\":0,") && out.contains("time:unknown"));
}

#[test]
fn the_tenant_is_the_records_own_unless_one_is_given() {
    let input = "{\"Id\":\"1\",\"OrganizationId\":\"41463f53-8812-40f4-890f-865bf6e35190\"}\n";
    let with = |tenant: Option<&str>| {
        let args = Map { tenant: tenant.map(str::to_owned), ..args("ocsf") };
        let mut out = Vec::new();
        map(&args, &mut input.as_bytes(), &mut out, &mut Vec::new()).expect("nothing to fail");
        out
    };
    assert_eq!(with(None), with(Some("41463F53-8812-40F4-890F-865BF6E35190")));
    assert_ne!(with(None), with(Some("another")));
}

#[cfg(feature = "testing")]
#[test]
fn a_panic_inside_a_record_stays_there() {
    let (bad, out, said) = mapped("raw", "{\"Operation\":\"auditferry-test-panic\"}\n{\"Id\":\"2\"}\n");
    assert_eq!((bad, &*out), (1, "{\"Id\":\"2\"}\n"));
    assert!(said.starts_with("line 1: mapping panicked"));
}

#[test]
fn a_codec_that_is_not_there_is_named_with_those_that_are() {
    let failed = map(&args("leef"), &mut &b""[..], &mut Vec::new(), &mut Vec::new()).expect_err("no such codec");
    assert_eq!(failed.to_string(), "no codec is named \"leef\"; this build has ocsf, cef, raw");
}

//! A certificate that ends soon: in the metric, in the log, in `check`, until it is replaced.

use std::{fs, time::SystemTime};

use jiff::{Timestamp, ToSpan, civil::Date, tz::Offset};

use crate::{
    agent::{Stage, free_port},
    support::{PATIENCE, get, level, series},
};

/// A CA that ends when this day begins.
fn ca(end: Date) -> String {
    let (year, month, day) = (i32::from(end.year()), end.month().unsigned_abs(), end.day().unsigned_abs());
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, month, day);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

fn second(day: Date) -> f64 {
    Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap().as_second() as f64
}

#[test]
fn a_certificate_that_ends_soon_is_shown_and_said_until_it_is_replaced() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    let path = stage.path("ca.pem");
    let today = Offset::UTC.to_datetime(Timestamp::try_from(SystemTime::now()).unwrap()).date();
    let (soon, late) = (today + 6.days(), jiff::civil::date(2100, 1, 1));
    fs::write(&path, ca(soon)).unwrap();
    // nobody listens there: what a sink is opened with counts all the same
    let sink = format!(
        "[[sink]]\nname = \"soc\"\nkind = \"syslog\"\ncodec = \"cef\"\naddress = \"tls://127.0.0.1:{}\"\nca = {path:?}\n",
        free_port()
    );
    stage.configure("", &sink);

    let checked = stage.command(&["check"]).output().unwrap();
    let words = String::from_utf8(checked.stderr).unwrap();
    // how many days depends on the hour
    let begin = format!("a certificate in {} expires in ", path.display());
    let end = format!(" days ({soon}): put its successor into the file; no restart is needed");
    let begins = words.starts_with(&format!("warning: sink `soc`, ca: {begin}"));
    assert!(checked.status.code() == Some(0) && begins && words.ends_with(&format!("{end}\n")), "{words}");

    let mut agent = stage.agent();
    let name = format!("auditferry_certificate_expires_timestamp_seconds{{file={path:?},sink=\"soc\"}}");
    let shown = || get(&stage, "/metrics").and_then(|(_, text)| series(&text, &name));
    stage.wait(PATIENCE, "the end of the certificate", || shown() == Some(second(soon)));
    fs::write(&path, ca(late)).unwrap();
    stage.wait(PATIENCE, "the end of its successor", || shown() == Some(second(late)));
    assert_eq!(agent.terminate(), Some(0));
    let log = level(&stage.said("agent.log"), "WARN");
    let said: Vec<_> = log.iter().filter(|line| line.contains("certificate in")).collect();
    assert_eq!(said.len(), 1, "though the sink was opened again and again: {said:?}");
    assert!(said[0].starts_with(&begin) && said[0].ends_with(&format!("{end} sink=\"soc\"")), "{said:?}");
}

//! Tests of `simulate` without a socket; the server itself is tested with the simulator.

use clap::Parser;

use super::*;
use crate::simulator::faults::Operation;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SimulateArgs,
}

fn args(line: &[&str]) -> SimulateArgs {
    Line::parse_from([&["simulate"], line].concat()).args
}

const START: Timestamp = Timestamp::constant(1_780_000_000, 0);

#[test]
fn the_printed_block_is_toml_with_all_that_a_source_needs() {
    let mut made = profile(&args(&["--tenants", "2"]), START).unwrap();
    made.base_url = "http://127.0.0.1:8365".into();
    let text = configuration(&made);
    let parsed = toml_span::parse(&text).unwrap();
    let sources = parsed.pointer("/source").and_then(|it| it.as_array()).unwrap();
    assert_eq!(sources.len(), 2);
    for (source, tenant) in sources.iter().zip(&made.tenants) {
        for (key, value) in [
            ("/tenant", tenant.id.as_str()),
            ("/client", tenant.client.as_str()),
            ("/api", "http://127.0.0.1:8365"),
            ("/authority", "http://127.0.0.1:8365"),
            ("/audience", "https://manage.office.com"),
        ] {
            assert_eq!(source.pointer(key).and_then(|it| it.as_str()), Some(value), "{key}");
        }
        // the secret itself is said once, in the line to paste into a shell
        assert_eq!(text.matches(&format!("={}\n", tenant.secrets[0])).count(), 1);
    }
}

#[test]
fn mistakes_name_what_to_do() {
    for (line, words) in [
        (
            vec!["--profile", "loud"],
            "there is no profile \"loud\"; choose one of quiet, demo, busy, hostile, tiny, days",
        ),
        (
            vec!["--fault", "gremlins"],
            "there is no fault \"gremlins\"; choose one of audit-off, no-roles, secret-expired, throttled, outage, late, \
             disabled, large-blob, panic, short-tokens",
        ),
        (vec!["--rate", "-3"], "--rate -3 is not a number of records a second between 0 and 100000"),
    ] {
        let line: Vec<String> = line.iter().map(|it| it.to_string()).collect();
        let joined = [format!("{}={}", line[0], line[1])];
        assert_eq!(profile(&args(&[joined[0].as_str()]), START).unwrap_err(), words);
    }
    assert_eq!(parse_time("7d"), Ok(Duration::from_secs(604_800)));
    for wrong in ["", "7", "d", "7w", "-1s", "999999999d", "7é"] {
        assert!(parse_time(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn bodies_are_held_up_for_as_long_as_asked_and_listings_are_not() {
    let made = profile(&args(&["--profile", "tiny", "--bodies-after", "2m"]), START).unwrap();
    let faults = &made.tenants[0].faults;
    let after = |seconds| START.checked_add(Duration::from_secs(seconds)).unwrap();
    assert!(
        faults.answer(Operation::Blob, 1, START).is_some() && faults.answer(Operation::Blob, 9, after(119)).is_some()
    );
    assert!(faults.answer(Operation::Blob, 9, after(120)).is_none());
    assert!(faults.answer(Operation::Contents, 1, START).is_none());
}

#[test]
fn the_long_pasts_are_as_large_as_they_say() {
    let past = |name: &str| {
        let made = profile(&args(&["--profile", name]), START).unwrap();
        let tenant = &made.tenants[0];
        (tenant.backfill.as_secs() / tenant.interval.as_secs(), tenant.rate() * tenant.backfill.as_secs_f64())
    };
    assert_eq!(past("tiny"), (100_000, 100_000.0));
    let (contents, records) = past("days");
    assert_eq!(contents, 8_640);
    assert!((30e6..30.1e6).contains(&records), "{records}");
}

#[test]
fn the_report_is_one_json_line_and_lists_every_owed_record_once() {
    let made = profile(&args(&["--profile", "demo", "--publish-for", "1s"]), START).unwrap();
    let simulator = Simulator::new(made);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let now = START.checked_add(Duration::from_secs(60)).unwrap();
    report(&path, &simulator, now, true).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["never"], value["contents"]);
    let mut listed: Vec<&str> = value["selected"].as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
    let all = listed.len();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), all);
    let owed: BTreeSet<String> = simulator.owed(Timestamp::MIN, now).map(|it| it.mark).collect();
    assert_eq!(owed.into_iter().collect::<Vec<_>>(), listed);
    assert!(all > 1_000, "{all}");
}

#[test]
fn every_fault_has_a_switch_that_changes_something() {
    for name in TenantProfile::FAULTS {
        let plain = format!("{:?}", profile(&args(&[]), START).unwrap());
        let switched = format!("{:?}", profile(&args(&["--fault", name]), START).unwrap());
        assert_ne!(plain, switched, "{name}");
    }
}

struct Nobody;

impl crate::world::HttpFactory for Nobody {
    fn client(&self, _: &crate::world::Transport) -> Result<Arc<dyn crate::world::Http>, crate::world::HttpError> {
        Err(crate::world::HttpError::Dead)
    }
}

impl crate::world::Random for Nobody {
    fn next(&self) -> u64 {
        4
    }
}

fn world() -> World {
    World {
        http: Arc::new(Nobody),
        clock: Arc::new(crate::world::SystemClock),
        random: Arc::new(Nobody),
        gate: crate::world::Gate::default(),
    }
}

#[tokio::test]
async fn exit_codes_tell_a_wrong_argument_from_a_taken_address() {
    let code = async |line: &[&str]| format!("{:?}", run_until(args(line), world(), std::future::ready(())).await);
    let (done, wrong, failed) = (ExitCode::SUCCESS, ExitCode::from(2), ExitCode::from(1));
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let report = report.to_str().unwrap();
    assert_eq!(code(&["--listen", "127.0.0.1:0", "--report", report]).await, format!("{done:?}"));
    let line = std::fs::read_to_string(report).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["once"], &line["leaked_tokens"]), (&0.into(), &0.into()));
    assert_eq!(code(&["--profile", "loud"]).await, format!("{wrong:?}"));
    assert_eq!(code(&["--records", report, "--listen", "127.0.0.1:0"]).await, format!("{done:?}"));
    assert_eq!(code(&["--records", "/nowhere/at/all.json"]).await, format!("{wrong:?}"));
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    assert_eq!(code(&["--listen", &taken]).await, format!("{failed:?}"));
    let unwritable = folder.path().join("no/such/folder/report.json");
    let line = ["--listen", "127.0.0.1:0", "--report", unwritable.to_str().unwrap()];
    assert_eq!(code(&line).await, format!("{failed:?}"));
}

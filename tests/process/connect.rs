//! `check --connect` and `subscriptions`, the real binary against the simulator as a process.

use auditferry_conformance::fakes::{certificates::Certificates, hec::Behaviour, kafka::Code};

use crate::{
    agent::Stage,
    fakes::{Receivers, hec_options},
    support::{file_sink, run},
};

#[test]
fn subscriptions_are_listed_started_and_stopped() {
    let stage = Stage::new(&["--profile", "quiet"]);
    let sink = file_sink(&stage, "file", "file.jsonl");
    stage.configure("", &sink);
    let row = |output: &str| output.split_whitespace().last().unwrap_or_default().to_owned();

    let (code, out, _) = run(&stage, &["subscriptions", "list"]);
    assert_eq!((code, row(&out).as_str()), (0, "none"), "{out}");
    let (code, out, _) = run(&stage, &["subscriptions", "start"]);
    assert_eq!((code, row(&out).as_str()), (0, "enabled"), "{out}");
    let (code, out, err) = run(&stage, &["subscriptions", "stop"]);
    assert_eq!((code, out.as_str()), (1, ""), "without --yes nothing is stopped");
    assert!(err.contains("say --yes if that is meant"), "{err}");
    let (code, out, _) = run(&stage, &["subscriptions", "list"]);
    assert_eq!((code, row(&out).as_str()), (0, "enabled"), "{out}");
    let (code, out, _) = run(&stage, &["subscriptions", "stop", "--yes"]);
    assert_eq!((code, row(&out).as_str()), (0, "disabled"), "{out}");
    let (code, _, err) = run(&stage, &["subscriptions", "list", "--source", "fabrikam"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("auditferry: no source is named `fabrikam`; there are: "), "{err}");

    // a running agent starts it again, so it is in the way of a stop
    let _agent = stage.agent();
    stage.wait(60, "a ledger", || stage.status().is_some());
    let (code, _, err) = run(&stage, &["subscriptions", "stop", "--yes"]);
    assert_eq!(code, 1);
    assert!(err.contains("an agent runs with this configuration (process "), "{err}");
}

#[test]
fn an_audit_log_that_is_off_is_found_by_starting() {
    let stage = Stage::new(&["--profile", "quiet", "--fault", "audit-off"]);
    let sink = file_sink(&stage, "file", "file.jsonl");
    stage.configure("", &sink);
    let (code, _, err) = run(&stage, &["subscriptions", "start"]);
    let first = err.lines().next().unwrap_or_default();
    assert_eq!(code, 1, "{err}");
    assert!(
        first.contains("Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true")
            && first.ends_with(" [AuditOff]"),
        "{err}"
    );
}

#[test]
fn check_connect_tells_what_works_and_exits_by_it() {
    let stage = Stage::new(&["--profile", "quiet"]);
    let sink = file_sink(&stage, "file", "file.jsonl");
    stage.configure("", &sink);
    let (code, out, err) = run(&stage, &["check", "--connect"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("\nnothing fails; what is marked `look` is not sure."), "{out}");
    assert!(!stage.path("file.jsonl").exists(), "looking made the sink's file");

    let (code, out, _) = run(&stage, &["check", "--connect", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["connect"][1]["table"]), (0, &"source".into()), "{told}");

    let gone = file_sink(&stage, "file", "gone/file.jsonl");
    stage.configure("", &gone);
    let (code, _, err) = run(&stage, &["check", "--connect"]);
    assert_eq!(code, 1, "{err}");
    let first = err.lines().next().unwrap_or_default();
    assert!(first.starts_with("error: sink `file`, open: can't open ") && first.ends_with(" [FilePath]"), "{err}");
}

/// What `check --connect` says first of this sink.
fn first_line(stage: &Stage, sink: &str) -> String {
    stage.configure("", &format!("[[sink]]\nname = \"siem\"\ncodec = \"ocsf\"\n{sink}\n"));
    let (code, out, err) = run(stage, &["check", "--connect"]);
    let first = err.lines().next().unwrap_or_default();
    assert_eq!(code, 1, "{out}{err}");
    let words = first.strip_prefix("error: sink `siem`, open: ").unwrap_or_else(|| panic!("{out}{err}"));
    words.to_owned()
}

#[test]
fn every_way_in_which_a_sink_is_set_wrongly_has_its_words() {
    let stage = Stage::new(&["--profile", "quiet"]);
    let receivers = Receivers::new();
    let (hec, _) = receivers.hec(Behaviour::default());
    let place = hec.address();
    assert_eq!(
        first_line(&stage, &hec_options(&stage, &hec, "mistyped")),
        format!(
            "{place} answered 403 with code 4 (Invalid token); look at option `token` and at Splunk's list of tokens [HecToken]"
        )
    );
    let acknowledged = format!("{}\nack = \"required\"", hec_options(&stage, &hec, "right"));
    assert_eq!(
        first_line(&stage, &acknowledged),
        format!(
            "{place}: the token does not acknowledge, and `ack = \"required\"`: switch indexer acknowledgement on for it [HecAck]"
        )
    );

    let (_inspector, kafka, _) = receivers.kafka("audit");
    let brokers = kafka.bootstrap_servers();
    let topic = |name: &str| format!("kind = \"kafka\"\nbrokers = [\"{brokers}\"]\ntopic = \"{name}\"");
    assert_eq!(
        first_line(&stage, &topic("audits")),
        "kafka knows no topic audits, or not that partition: create it, or let this user describe it; it is never created on the way [KafkaTopic]"
    );
    kafka.topic_error(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(
        first_line(&stage, &topic("audit")),
        "kafka refused: this user may not write to topic audit; allow WRITE and DESCRIBE on it [KafkaAuthorization]"
    );

    let certificates = Certificates::new();
    std::fs::write(stage.path("ca.pem"), &certificates.ca).unwrap();
    std::fs::write(stage.path("other.pem"), &certificates.other_ca).unwrap();
    let syslog = receivers.syslog_tls(certificates.open());
    let tls = |more: &str| format!("kind = \"syslog\"\naddress = \"{}\"\n{more}", syslog.url());
    let ca = |name: &str| format!("ca = {:?}", stage.path(name));
    assert_eq!(
        first_line(&stage, &tls(&ca("other.pem"))),
        format!(
            "{}: the server's certificate is from an unknown issuer: set `ca` to the file of the private CA that issued it; if there is none, a proxy on the way shows a certificate of its own; the certificate is for `CN=server` and was issued by `CN=auditferry test CA`, which was not shown with it [TlsIssuer]",
            syslog.url()
        )
    );
    let words = first_line(&stage, &tls(&format!("{}\nserver_name = \"elsewhere.example\"", ca("ca.pem"))));
    assert!(words.contains("the server's certificate is not for elsewhere.example but for "), "{words}");
    assert!(
        words.ends_with(
            " connect by a name in it, set `server_name`, or have the name added to the certificate; the certificate is for `CN=server` and was issued by `CN=auditferry test CA`, which was not shown with it [TlsName]"
        ),
        "{words}"
    );
}

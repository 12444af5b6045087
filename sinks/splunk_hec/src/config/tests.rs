use super::*;

fn checked(options: &str, codec: &'static str) -> Result<Box<dyn CheckedSink>, Vec<String>> {
    let mut value = auditferry_contract::toml_span::parse(options).expect("valid TOML");
    let media_type = if codec == "cef" { "text/plain" } else { "application/json" };
    let format = Format { codec, schema: "x/1".into(), media_type };
    check(Options::new(&mut value).expect("a table"), &format)
        .map_err(|e| e.errors.iter().map(|e| e.to_string()).collect())
}

const GOOD: &str = "endpoint = 'https://h:8088'\ntoken = { env = 'T' }\n";

fn setting(sink: &dyn CheckedSink, name: &str) -> String {
    sink.settings().into_iter().find(|(n, _)| *n == name).map(|(_, v)| v).unwrap_or_default()
}

#[test]
fn defaults_depend_on_the_codec() {
    for (codec, source, sourcetype) in [
        ("raw", "o365", "o365:management:activity"),
        ("ocsf", "auditferry", "auditferry:ocsf"),
        ("cef", "auditferry", "auditferry:cef"),
    ] {
        let sink = checked(GOOD, codec).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!((&*setting(&*sink, "source"), &*setting(&*sink, "sourcetype")), (source, sourcetype));
        assert_eq!(setting(&*sink, "token"), "***");
        assert_eq!(setting(&*sink, "endpoint"), "https://h:8088/services/collector/event");
        assert_eq!(setting(&*sink, "ca"), "the system's");
    }
}

#[test]
fn who_may_wait_for_an_acknowledgement_has_many_calls_but_few_batches() {
    for (ack, in_flight, deadline, promise) in [
        ("auto", 256, 360, None),
        ("required", 256, 360, Some(Confirmation::Stored)),
        ("off", 4, 60, Some(Confirmation::Accepted)),
    ] {
        let sink = checked(&format!("{GOOD}ack = '{ack}'"), "ocsf").unwrap_or_else(|e| panic!("{e:?}"));
        let limits = sink.limits();
        assert_eq!((limits.in_flight, limits.in_hand, limits.deadline.as_secs()), (in_flight, 4, deadline), "{ack}");
        assert_eq!((limits.batch_messages, limits.batch_bytes, limits.message_bytes), (500, 1_000_000, 1_000_000));
        assert_eq!(sink.promise(), promise, "{ack}");
    }
    let large = checked(&format!("{GOOD}max_event = '4 MB'"), "ocsf").unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!((large.limits().message_bytes, large.limits().batch_bytes), (4_000_000, 4_000_000));
}

#[test]
fn mistakes_are_told_all_at_once() {
    let words = |options: &str| checked(options, "ocsf").err().unwrap_or_default();
    let first = |options: &str| words(options)[0].lines().next().unwrap_or_default().to_string();
    assert_eq!(words("ack = 'no'\nack_interval = '1ms'\nmax_event = '1 B'\nproxy = 'x'\nendpont = 'a'").len(), 7);
    assert_eq!(first(&GOOD.replace("https", "http")), "plain http would show the token to the network");
    let login = first(&GOOD.replace("h:8088", "u:hunter2@h"));
    assert_eq!(login, "the address holds a login");
    assert_eq!(first(&format!("{GOOD}proxy = 'http://u:hunter2@p'")), "not an address of a proxy");
    assert_eq!(
        first("endpoint = 'http://127.0.0.1:1'\ntoken = { env = 'T' }\nca = '/ca.pem'"),
        "options of TLS, and an endpoint without it"
    );
    let inline = words("endpoint = 'https://h'\ntoken = 'hunter2'");
    assert!(inline.len() == 1 && !inline[0].contains("hunter2"), "{inline:?}");
}

#[test]
fn everything_that_is_read_is_told_to_the_agent() {
    let options = format!("{GOOD}ca = '/ca.pem'\ncertificate = '/c.pem'\nkey = '/k.pem'");
    let sink = checked(&options, "ocsf").unwrap_or_else(|e| panic!("{e:?}"));
    let references: Vec<_> = sink.references().iter().map(ToString::to_string).collect();
    assert_eq!(references, ["environment variable T"]);
    assert_eq!(sink.files(), ["/ca.pem", "/c.pem", "/k.pem"].map(std::path::PathBuf::from));
}

//! Good options and bad ones.

use auditferry_contract::toml_span;

use super::*;

fn read(options: &str) -> Result<Box<dyn CheckedSink>, Vec<String>> {
    let mut value = toml_span::parse(options).expect("valid TOML");
    let format = Format { codec: "cef", schema: "cef".into(), media_type: "text/plain" };
    let checked = check(Options::new(&mut value).expect("a table"), &format);
    checked.map_err(|errors| errors.errors.iter().map(|e| e.to_string()).collect())
}

fn words(options: &str) -> Vec<String> {
    read(options).err().unwrap_or_default()
}

#[test]
fn the_defaults() {
    let checked = read("address = 'tls://10.0.0.5'").unwrap_or_else(|_| panic!("good options"));
    let settings: Vec<_> = checked.settings().into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    assert_eq!(
        settings,
        [
            "address = tls://10.0.0.5:6514",
            "ca = the system's",
            "facility = local0",
            "hostname = the event's tenant",
            "app_name = auditferry",
            "enterprise_id = 32473",
            "max_message = 8 kB",
        ]
    );
    let limits = checked.limits();
    assert_eq!((limits.in_flight, limits.in_hand, limits.batch_messages, limits.batch_bytes), (1, 1, 500, 65_536));
    assert!(limits.message_bytes < 8000 && limits.message_bytes > 7000, "{limits:?}");
    assert_eq!(checked.promise(), Some(Confirmation::Sent));
    let patience = Patience::default().unacknowledged;
    assert!(patience < limits.settle, "a dead host must be noticed before what was sent to it counts as delivered");
}

#[test]
fn the_least_and_the_most() {
    let longest = format!("hostname = '{}'\napp_name = '{}'", "h".repeat(255), "a".repeat(48));
    let least = read(&format!("address = 'tcp://a:514'\nmax_message = '2 KiB'\n{longest}"))
        .unwrap_or_else(|_| panic!("good options"));
    assert!(least.limits().message_bytes >= 1024, "{:?}", least.limits());
    let most =
        read("address = 'tcp://a:514'\nmax_message = '16 MiB'").unwrap_or_else(|_| panic!("good options")).limits();
    assert!(most.message_bytes > 15 << 20 && most.batch_bytes >= most.message_bytes, "{most:?}");
}

#[test]
fn mistakes_are_told_each() {
    assert_eq!(words("facility = 'local0'"), ["missing field 'address' in table"]);
    assert!(words("address = 'syslog.example:514'")[0].starts_with("not an address of a syslog receiver\nwrite"));
    for facility in ["local8", "16", "log"] {
        assert!(words(&format!("address = 'tls://a'\nfacility = '{facility}'"))[0].starts_with("not a facility"));
    }
    assert!(words("address = 'tls://a'\nfacility = 'AUDIT'").is_empty());
    for (name, value) in [
        ("hostname", "a b"),
        ("hostname", "h\u{fc}"),
        ("app_name", "0123456789012345678901234567890123456789012345678"),
    ] {
        let found = words(&format!("address = 'tls://a'\n{name} = '{value}'"));
        assert!(found[0].starts_with(&format!("`{name}` can't stand in a syslog header")), "{found:?}");
    }
    assert!(words("address = 'tls://a'\nenterprise_id = 0")[0].contains("out of range"));
    assert!(words("address = 'tls://a'\nmax_message = '1 KiB'")[0].contains("out of range"));
    let plain = words("address = 'tcp://a:514'\nca = '/ca.pem'");
    assert!(plain[0].starts_with("the address is plain TCP, and options for TLS are given"), "{plain:?}");
    assert_eq!(words("address = 'tcp://a'\nfacility = 'x'\nhostname = ''\nmax_message = 9\nfoo = 1").len(), 5);
}

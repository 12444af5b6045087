//! `check` as a process: exit codes, what goes to which stream, folders, references.

use std::{fs, path::Path};

use assert_cmd::Command;

const GOOD: &str = r#"
[agent]
state_dir = "state"

[[source]]
name    = "contoso"
kind    = "office365"
tenant  = "41463F53-8812-40f4-890f-865bf6e35190"
client  = "6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11"
secret  = { env = "O365_SECRET" }
start   = "24h"

[[sink]]
name = "archive"
kind = "file"
path = "events.jsonl"
"#;

fn check(folder: &Path, arguments: &[&str], secret: Option<&str>) -> (i32, String, String) {
    let mut command = Command::cargo_bin("auditferry").expect("the binary is built");
    command.current_dir(folder).env_remove("O365_SECRET").arg("check").args(arguments);
    if let Some(secret) = secret {
        command.env("O365_SECRET", secret);
    }
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_good_configuration_shows_what_applies_and_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.toml"), GOOD).expect("written");
    let (code, out, err) = check(folder.path(), &["--config", "a.toml"], Some("hunter2"));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for line in [
        "  listen               127.0.0.1:9464",
        "  body_budget          2 GiB",
        "  tenant               41463f53-8812-40f4-890f-865bf6e35190",
        "  publisher            41463f53-8812-40f4-890f-865bf6e35190",
        "  secret               *** (environment variable O365_SECRET)",
        "  content              Audit.General",
        "  start                1d",
        "  authority            https://login.microsoftonline.com",
        "  mode                 0640",
        "  its Ok is worth      stored: on stable storage at the destination",
        "the configuration is in order",
    ] {
        assert!(out.lines().any(|l| l == line), "missing: {line}\n{out}");
    }
    assert!(!out.contains("hunter2"), "{out}");
    // nothing was made
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
}

#[test]
fn what_is_referred_to_must_be_there() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.toml"), GOOD.replace("start ", "ca = 'gone.pem'\nstart ")).expect("written");
    let (code, out, err) = check(folder.path(), &["--config", "a.toml"], None);
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "error: source `contoso`, secret: environment variable O365_SECRET is not set: set it where the agent is started [Secret]\n\
         error: source `contoso`, ca: file gone.pem can't be read: No such file or directory (os error 2): it must be there, for the agent's user to read [File]\n"
    );
    assert!(!out.contains("in order"), "{out}");
}

#[test]
fn json_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.toml"), GOOD).expect("written");
    let (code, out, _) = check(folder.path(), &["--config", "a.toml", "--json"], Some("x"));
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["ok"]), (0, &serde_json::json!(true)));
    assert_eq!(json["tables"][2]["settings"][0], serde_json::json!({"key": "kind", "value": "file"}));
    fs::write(folder.path().join("a.toml"), GOOD.replace("start ", "stat ")).expect("written");
    let (code, out, err) = check(folder.path(), &["--config", "a.toml", "--json"], Some("x"));
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["ok"], err.as_str()), (2, &serde_json::json!(false), ""));
    assert_eq!(
        json["mistakes"],
        serde_json::json!([{"file": "a.toml", "line": 11, "column": 1, "mistake": "unknown key `stat`", "hint": "did you mean `start`?"}])
    );
}

#[test]
fn a_folder_of_files_is_one_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let (front, sink) = GOOD.split_at(GOOD.find("[[sink]]").expect("it has one"));
    fs::create_dir(folder.path().join("etc")).expect("made");
    fs::write(folder.path().join("etc/10-front.toml"), front).expect("written");
    let (code, _, err) = check(folder.path(), &["--config", "etc"], Some("x"));
    assert_eq!(code, 2);
    assert!(err.starts_with("error: no [[sink]] in the configuration"), "{err}");
    fs::write(folder.path().join("etc/20-sink.toml"), sink).expect("written");
    fs::write(folder.path().join("etc/30-notes.txt"), "not TOML").expect("written");
    assert_eq!(check(folder.path(), &["--config", "etc"], Some("x")).0, 0);
    let both = ["--config", "etc/10-front.toml", "--config", "etc/20-sink.toml"];
    assert_eq!(check(folder.path(), &both, Some("x")).0, 0);
}

#[test]
fn files_that_can_not_be_read_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, out, err) = check(folder.path(), &["--config", "gone.toml"], None);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("error: can't read gone.toml: No such file or directory"), "{err}");
    fs::write(folder.path().join("latin.toml"), b"[agent]\nstate_dir = '\xfc'").expect("written");
    let (code, _, err) = check(folder.path(), &["--config", "latin.toml"], None);
    assert_eq!(code, 2);
    assert!(err.starts_with("error: latin.toml is not UTF-8 at byte 21"), "{err}");
    fs::create_dir(folder.path().join("empty")).expect("made");
    let (_, _, err) = check(folder.path(), &["--config", "empty"], None);
    assert!(err.starts_with("error: no file *.toml in folder empty"), "{err}");
}

#[test]
fn a_wrong_command_line_is_a_mistake_of_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, _, err) = check(folder.path(), &[], None);
    assert_eq!(
        (code, err.as_str()),
        (
            2,
            "error: no configuration was given\n |\n = help: give a file or folder: --config FILE, or name it in the environment: AUDITFERRY_CONFIG=FILE\n\n1 mistake in the configuration\n"
        )
    );
    let (code, _, err) = check(folder.path(), &["--confgi", "a.toml"], None);
    assert!(code == 2 && err.contains("--confgi"), "{code} {err}");
}

/// The environment names what `--config` does not, for every command that takes it; a flag counts more.
#[test]
fn the_environment_names_the_configuration_where_no_flag_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let (front, sink) = GOOD.split_at(GOOD.find("[[sink]]").expect("it has one"));
    // sources on a sink, one of several, each in a file of its own
    let other = front[front.find("[[source]]").expect("it has one")..]
        .replace("contoso", "fabrikam")
        .replace("41463F53", "51463F53");
    fs::create_dir(folder.path().join("etc")).expect("made");
    for (name, text) in [
        ("etc/10-front.toml", front),
        ("etc/20-other.toml", other.as_str()),
        ("sink.toml", &(sink.to_string() + "sources = [\"fabrikam\"]\n")),
        ("wrong.toml", "[agent]\nstat_dir = 1\n"),
    ] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let run = |arguments: &[&str], variable: Option<&str>| {
        let mut command = Command::cargo_bin("auditferry").expect("the binary is built");
        command.current_dir(folder.path()).env("O365_SECRET", "x").env_remove("AUDITFERRY_CONFIG").args(arguments);
        if let Some(variable) = variable {
            command.env("AUDITFERRY_CONFIG", variable);
        }
        let output = command.output().expect("it runs");
        let words = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (output.status.code(), words(&output.stdout), words(&output.stderr))
    };
    let (code, out, err) = run(&["check"], Some("etc:sink.toml"));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("source contoso\n") && out.contains("source fabrikam\n"), "{out}");
    assert!(out.lines().any(|line| line == "  sources              fabrikam"), "{out}");
    assert_eq!(run(&["check", "--config", "etc", "--config", "sink.toml"], Some("wrong.toml")).0, Some(0));
    assert_eq!(run(&["check"], Some("wrong.toml:sink.toml")).0, Some(2));
    let (code, _, err) = run(&["check"], Some("gone.toml"));
    assert!(code == Some(2) && err.contains("can't read gone.toml") && err.contains("AUDITFERRY_CONFIG"), "{err}");
    for command in [
        &["run"][..],
        &["check"],
        &["status"],
        &["sinks"],
        &["quarantine", "list"],
        &["quarantine", "show", "1"],
        &["quarantine", "retry", "1"],
        &["quarantine", "drop", "1"],
        &["retire-sink", "x"],
        &["remove-tenant", "x"],
        &["backup", "x"],
        &["restore", "x"],
        &["support-bundle", "--output", "bundle"],
    ] {
        // a bundle is made whatever is wrong
        if command[0] == "support-bundle" {
            assert_eq!(run(command, None).0, Some(0));
            continue;
        }
        for variable in [None, Some("")] {
            let (code, _, err) = run(command, variable);
            assert!(code == Some(2) && err.contains("no configuration was given"), "{command:?}: {err}");
        }
        let (_, _, err) = run(command, Some("wrong.toml"));
        assert!(err.contains("unknown key `stat_dir`"), "{command:?}: {err}");
    }
}

#[test]
fn the_configurations_of_the_examples_and_of_the_readme_are_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let registry = auditferry::sinks::registry();
    let mut checked = 0;
    for entry in fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let report = auditferry::config::load(&[path], &registry).err().map(|report| report.render(false));
            assert_eq!(report, None);
            checked += 1;
        }
    }
    assert!(checked > 0, "there is an example of a configuration");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let from = readme.find("```toml").expect("the README shows a configuration") + "```toml".len();
    let text = &readme[from..from + readme[from..].find("```").unwrap()];
    let file = auditferry::config::SourceFile { path: "README.md".into(), text: text.into() };
    let report = auditferry::config::parse(vec![file], &registry).err().map(|report| report.render(false));
    assert_eq!(report, None);
}

/// A certificate that signs itself and ends with the year before this one, and its key.
fn certificate(until: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_string()]).expect("a name");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(until, 1, 1));
    let key = rcgen::KeyPair::generate().expect("random bytes");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

#[test]
fn what_is_wrong_with_a_sinks_certificates_is_said_with_option_file_and_next_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, old) = (certificate(2100), certificate(2021));
    for (name, text) in [
        ("ca.pem", &good.0),
        ("crt.pem", &good.0),
        ("key.pem", &good.1),
        ("other.pem", &certificate(2100).1),
        ("old.pem", &old.0),
        ("oldkey.pem", &old.1),
        ("text.pem", &"not one".to_string()),
        ("cut.pem", &"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_string()),
    ] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let all = ["ca", "certificate", "key"];
    for (files, code, words) in [
        (["ca.pem", "crt.pem", "key.pem"], 0, ""),
        (["gone.pem", "crt.pem", "key.pem"], 2, "error: sink `soc`, ca: file gone.pem can't be read"),
        (["ca.pem", "crt.pem", "gone.pem"], 2, "error: sink `soc`, key: file gone.pem can't be read"),
        (["text.pem", "crt.pem", "key.pem"], 2, "error: sink `soc`, ca: text.pem holds no certificate: expected PEM"),
        (["key.pem", "crt.pem", "key.pem"], 2, "error: sink `soc`, ca: key.pem holds no certificate: expected PEM"),
        (["cut.pem", "crt.pem", "key.pem"], 2, "error: sink `soc`, ca: certificate 1 in cut.pem can't be used as a CA"),
        (
            ["ca.pem", "crt.pem", "other.pem"],
            2,
            "error: sink `soc`, certificate and key: the key in other.pem is not the one of the certificate in crt.pem: give the two that belong together",
        ),
        (["ca.pem", "crt.pem", "crt.pem"], 2, "error: sink `soc`, certificate and key: crt.pem holds no private key"),
        (
            ["ca.pem", "old.pem", "oldkey.pem"],
            2,
            "error: sink `soc`, certificate: a certificate in old.pem expired on 2021-01-01: put its successor into the file",
        ),
        // rustls still trusts it, and of several the others may do
        (
            ["old.pem", "crt.pem", "key.pem"],
            0,
            "warning: sink `soc`, ca: a certificate in old.pem expired on 2021-01-01",
        ),
    ] {
        let options: String = all.iter().zip(files).map(|(key, file)| format!("{key} = {file:?}\n")).collect();
        let sink =
            format!("[[sink]]\nname = \"soc\"\nkind = \"syslog\"\naddress = \"tls://127.0.0.1:6514\"\n{options}");
        fs::write(folder.path().join("a.toml"), format!("{GOOD}\n{sink}")).expect("written");
        let (found, out, err) = check(folder.path(), &["--config", "a.toml"], Some("hunter2"));
        assert_eq!((found, err.lines().count()), (code, usize::from(!words.is_empty())), "{files:?}: {err}");
        assert!(err.starts_with(words), "{files:?}: {err}");
        assert_eq!(out.contains("in order"), code == 0, "{files:?}: {out}");
        assert!(!err.contains("PRIVATE") || err.contains("expected PEM"), "{err}");
    }
}

#[test]
fn what_raw_can_not_shorten_is_said_before_it_lies_in_quarantine() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = |codec: &str, more: &str| {
        format!(
            "[[sink]]\nname = \"soc\"\nkind = \"syslog\"\ncodec = \"{codec}\"\naddress = \"tcp://127.0.0.1:514\"\n{more}"
        )
    };
    for (codec, more, warned) in
        [("raw", "", true), ("cef", "", false), ("ocsf", "", false), ("raw", "max_message = \"64 kB\"\n", false)]
    {
        fs::write(folder.path().join("a.toml"), format!("{GOOD}\n{}", sink(codec, more))).expect("written");
        let (code, _, err) = check(folder.path(), &["--config", "a.toml"], Some("hunter2"));
        let words = "warning: sink `soc`: codec `raw` never shortens, and at most ";
        assert_eq!((code, err.starts_with(words)), (0, warned), "{codec} {more}: {err}");
        assert!(!warned || err.contains("raise `max_message`"), "{err}");
    }
}

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
        "error: source `contoso`, secret: environment variable O365_SECRET is not set: set it where the agent is started\n\
         error: source `contoso`, ca: file gone.pem can't be read: No such file or directory (os error 2)\n"
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
    assert!(code == 2 && err.contains("--config <FILE>"), "{code} {err}");
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

#[test]
fn a_sinks_certificates_are_looked_at_and_may_have_many_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = "[[sink]]\nname = \"soc\"\nkind = \"syslog\"\naddress = \"tls://127.0.0.1:6514\"\nca = \"ca.pem\"\n";
    fs::write(folder.path().join("a.toml"), format!("{GOOD}\n{sink}")).expect("written");
    let (code, _, err) = check(folder.path(), &["--config", "a.toml"], Some("hunter2"));
    assert!(code == 2 && err.contains("sink `soc`: file ca.pem can't be read"), "{code} {err}");
    fs::write(folder.path().join("ca.pem"), "not one").expect("written");
    let (code, _, err) = check(folder.path(), &["--config", "a.toml"], Some("hunter2"));
    assert!(code == 2 && err.contains("file ca.pem holds neither a certificate nor a key"), "{code} {err}");
    fs::write(folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("written");
    let (code, _, err) = check(folder.path(), &["--config", "a.toml"], Some("hunter2"));
    assert_eq!((code, err.as_str()), (0, ""));
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

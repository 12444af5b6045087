//! What lies in `packaging/` agrees with the program: its options, defaults and names. What can be tried only on a Debian of its own is tried by
//! `packaging/debian/try`.

use std::{collections::BTreeSet, net::SocketAddr, process::Command};

use auditferry::config::Config;
use auditferry_contract::SecretRef;
use yaml_rust2::{Yaml, YamlLoader};

use super::*;

const UNIT: &str = "packaging/systemd/auditferry.service";

fn text(place: &str) -> String {
    read(&root().join(place))
}

/// The values of a key of the unit.
fn unit(key: &str) -> Vec<String> {
    let text = text(UNIT);
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// What stands for the two ids that a person must fill in; no GUID that Entra would give.
const UNSET: &str = "00000000-0000-0000-0000-000000000000";

fn load(text: &str) -> Result<Config, config::Report> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("auditferry.toml");
    fs::write(&path, text).expect("written");
    config::load(&[path], &sinks::registry())
}

/// Reads this sample as `run` would once its ids are filled in: then nothing else is missing, and before, nothing else is said.
fn configuration(text: &str) -> Config {
    let report = load(text).expect_err("it names no tenant yet");
    let mistakes: Vec<_> = report.mistakes.iter().map(|mistake| mistake.what.as_str()).collect();
    assert_eq!(mistakes, ["`tenant` is not a GUID", "`client` is not a GUID"]);
    load(&text.replace(UNSET, "41463f53-8812-40f4-890f-865bf6e35190")).unwrap_or_else(|report| panic!("{report}"))
}

/// Every secret file that a configuration names.
fn secrets(config: &Config) -> BTreeSet<PathBuf> {
    let of_sinks = config.sinks.iter().flat_map(|sink| sink.checked.references());
    let all = config.sources.iter().map(|source| source.secret.clone()).chain(of_sinks);
    all.filter_map(|reference| if let SecretRef::File(path) = reference { Some(path) } else { None }).collect()
}

/// Fails unless the command line takes these arguments; the configuration they name.
fn accepted(arguments: &[&str]) -> String {
    let all = [&["auditferry"], arguments].concat();
    let matches = cli::command(&sinks::registry()).try_get_matches_from(&all);
    let matches = matches.unwrap_or_else(|error| panic!("{all:?}: {error}"));
    let (name, run) = matches.subcommand().expect("a command");
    assert_eq!(name, "run");
    let paths: Vec<_> = run.get_many::<PathBuf>("paths").expect("--config").collect();
    assert_eq!(paths.len(), 1);
    paths[0].display().to_string()
}

/// Runs systemd-analyze; `None`, with words, where there is none.
fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let Ok(output) = Command::new("systemd-analyze").args(arguments).current_dir(root()).output() else {
        println!("skipped: systemd-analyze is not here (Debian: apt-get install systemd)");
        return None;
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if said.contains("unrecognized option") {
        println!("skipped: systemd-analyze is older than 250 here");
        return None;
    }
    Some((output.status.success(), said))
}

#[test]
fn the_unit_is_exposed_less_than_2_0() {
    let Some((below, said)) = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=19", UNIT]) else {
        return;
    };
    let level = said.lines().find(|line| line.contains("Overall exposure level for auditferry.service"));
    println!("{}", level.unwrap_or_default());
    assert!(below && level.is_some(), "{said}");
}

#[test]
fn systemd_knows_every_line_of_the_unit() {
    // a copy whose program is there
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("auditferry.service");
    let copy = text(UNIT).replace("/usr/bin/auditferry", "/bin/true").replace("Documentation=man:auditferry(1)\n", "");
    fs::write(&path, copy).expect("written");
    let Some((fine, said)) = analyze(&["verify", "--man=no", &path.display().to_string()]) else { return };
    // other units of the machine may have complaints of their own
    let about: Vec<_> = said.lines().filter(|line| line.contains("auditferry.service")).collect();
    assert!(fine && about.is_empty(), "{said}");
}

#[test]
fn the_unit_agrees_with_the_program_and_the_sample_configuration() {
    let start = unit("ExecStart").concat();
    let arguments: Vec<_> = start.split(' ').collect();
    assert_eq!(arguments[0], "/usr/bin/auditferry");
    let place = accepted(&arguments[1..]);
    let folder = unit("ConfigurationDirectory").concat();
    assert_eq!(place, format!("/etc/{folder}/auditferry.toml"));
    assert_eq!(unit("Type"), ["notify"]);
    assert_eq!(unit("RestartPreventExitStatus"), ["2"], "what a wrong configuration ends with");

    let config = configuration(&text("packaging/debian/auditferry.toml"));
    assert_eq!(config.agent.state_dir, Path::new("/var/lib").join(unit("StateDirectory").concat()));
    let credential = unit("LoadCredential").concat();
    let (id, from) = credential.split_once(':').expect("ID:FOLDER");
    assert_eq!(from, format!("/etc/{folder}/secrets"));
    for secret in secrets(&config) {
        let given = secret.display().to_string();
        assert!(given.starts_with(&format!("/run/credentials/auditferry.service/{id}_")), "{given}");
    }
    assert!(!secrets(&config).is_empty());
    let logs = format!("path  = \"/var/log/{}/", unit("LogsDirectory").concat());
    assert!(text("packaging/debian/auditferry.toml").contains(&logs), "the file sink may write in {logs}");
}

#[test]
fn the_package_holds_what_it_names() {
    let scripts = ["packaging/debian/scripts/postinst", "packaging/debian/scripts/postrm"].map(text).concat();
    let credential = unit("LoadCredential").concat();
    let (_, from) = credential.split_once(':').expect("ID:FOLDER");
    assert_eq!(scripts.matches(from).count(), 2, "made at the installation, removed when purged");
    assert_eq!(scripts.matches("#DEBHELPER#").count(), 2);
    let manifest = text("Cargo.toml");
    for place in
        ["packaging/debian/auditferry.toml", "packaging/debian/scripts", "packaging/systemd", "target/packaging/man"]
    {
        assert!(manifest.contains(&format!("\"{place}")), "{place}");
    }
}

#[test]
fn the_container_runs_as_nobody_and_writes_to_its_volume_only() {
    let text = text("packaging/container/Containerfile");
    let rust = read(&root().join("Cargo.toml"));
    let rust = rust.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a version");
    assert!(text.contains(&format!("FROM docker.io/library/rust:{rust}-")), "another Rust than {rust}");
    let line = |start: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("no line {start}")).to_owned()
    };
    assert_eq!(line("VOLUME "), "/var/lib/auditferry");
    assert_eq!(line("USER "), "65532:65532");
    assert_eq!(line("EXPOSE "), default_listen().port().to_string());
    let command: Vec<String> = serde_json::from_str(&line("CMD ")).expect("a list");
    accepted(&command.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(text.contains("ca-certificates"));
    assert!(read(&root().join(".dockerignore")).lines().any(|line| line == "target"), "gigabytes go into the build");
}

fn default_listen() -> SocketAddr {
    configuration(&text("packaging/debian/auditferry.toml")).agent.listen
}

/// The item of this name in a list of named things.
fn named<'a>(list: &'a Yaml, name: &str) -> &'a Yaml {
    let items = list.as_vec().unwrap_or_else(|| panic!("no list with {name}"));
    items.iter().find(|item| item["name"].as_str() == Some(name)).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_kubernetes_manifest_agrees_with_the_program() {
    let documents = YamlLoader::load_from_str(&text("packaging/kubernetes/auditferry.yaml")).expect("YAML");
    let kind = |kind: &str| {
        let found: Vec<_> = documents.iter().filter(|document| document["kind"].as_str() == Some(kind)).collect();
        assert_eq!(found.len(), 1, "{kind}");
        found[0]
    };
    let set = &kind("StatefulSet")["spec"];
    assert_eq!(set["replicas"].as_i64(), Some(1), "a ledger has one owner");
    assert_eq!(set["serviceName"], kind("Service")["metadata"]["name"]);
    let pod = &set["template"]["spec"];
    let labels = &set["template"]["metadata"]["labels"];
    for selector in [
        &set["selector"]["matchLabels"],
        &kind("Service")["spec"]["selector"],
        &kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let container = named(&pod["containers"], "auditferry");
    let arguments = container["args"].as_vec().expect("args");
    let place = accepted(&arguments.iter().map(|word| word.as_str().expect("a text")).collect::<Vec<_>>());

    let mount =
        |name: &str| PathBuf::from(named(&container["volumeMounts"], name)["mountPath"].as_str().expect("a path"));
    let file = Path::new(&place).file_name().expect("a file").to_string_lossy().into_owned();
    assert_eq!(Path::new(&place), mount("config").join(&file));
    assert_eq!(named(&pod["volumes"], "config")["configMap"]["name"], kind("ConfigMap")["metadata"]["name"]);
    let config = configuration(kind("ConfigMap")["data"][file.as_str()].as_str().expect("the configuration"));
    assert_eq!(config.agent.state_dir, mount("state"));
    assert_eq!(named_claim(set), "state");
    assert!(!config.agent.listen.ip().is_loopback(), "probes come from outside of the pod");
    assert_eq!(config.agent.listen.port(), default_listen().port());
    let said = text("packaging/kubernetes/auditferry.yaml");
    for secret in secrets(&config) {
        assert_eq!(secret.parent(), Some(&*mount("secrets")));
        let key = secret.file_name().expect("a key").to_string_lossy().into_owned();
        assert!(said.contains(&format!("--from-file={key}=")), "the comment does not make {key}");
    }
    let named_secret = named(&pod["volumes"], "secrets")["secret"]["secretName"].as_str().expect("a name");
    assert!(said.contains(&format!("secret generic {named_secret} ")));

    let port = i64::from(config.agent.listen.port());
    assert_eq!(named(&container["ports"], "http")["containerPort"].as_i64(), Some(port));
    assert_eq!(named(&kind("Service")["spec"]["ports"], "http")["port"].as_i64(), Some(port));
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"].as_str(), Some(path));
        assert_eq!(container[probe]["httpGet"]["port"].as_str(), Some("http"));
    }
    let user = pod["securityContext"]["runAsUser"].as_i64().expect("a user");
    assert!(text("packaging/container/Containerfile").contains(&format!("\nUSER {user}:{user}\n")));
    assert_eq!(pod["securityContext"]["fsGroup"].as_i64(), Some(user), "the volume and the secrets are this group's");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0].as_str(), Some("ALL"));
}

fn named_claim(set: &Yaml) -> &str {
    set["volumeClaimTemplates"][0]["metadata"]["name"].as_str().expect("a claim")
}

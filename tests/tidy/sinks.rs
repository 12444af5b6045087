//! Rules for the sinks: what they know, what they leave to the agent, and what a crate of theirs looks like.

use auditferry::sinks;
use auditferry_contract::{
    Format, Options,
    toml_span::{self, ErrorKind},
};

use super::*;

/// The crates of sinks; what stands beside them in `sinks/` is none.
fn crates() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("sinks")).expect("sinks");
    let folders = entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir());
    let mut crates: Vec<_> =
        folders.filter(|path| !["contract", "conformance", "tls"].iter().any(|other| path.ends_with(other))).collect();
    crates.sort();
    crates
}

#[test]
fn sinks_know_the_contract_only() {
    let mut found = Vec::new();
    let mut seen = 0;
    let manifests = files("sinks", "toml").into_iter().chain(files("examples", "toml"));
    for path in manifests.filter(|p| p.ends_with("Cargo.toml")) {
        let folder =
            path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        seen += 1;
        for (table, key) in manifest(&path) {
            let house = key.starts_with("auditferry");
            let allowed = match (table.as_str(), key.as_str()) {
                (_, "auditferry-contract") => folder != "contract",
                (_, "auditferry-tls") => !matches!(folder.as_str(), "contract" | "tls"),
                ("dev-dependencies", "auditferry-conformance") => folder != "contract",
                (_, "auditferry-conformance") => false,
                // for its main; its sink is looked at below
                (_, "auditferry") => folder == "custom_sink",
                _ => !house || table == "package",
            };
            if !allowed && table.ends_with("dependencies") {
                found.push(format!("{}: {table}.{key}", shown(&path)));
            }
        }
    }
    assert!(seen >= 9, "only {seen} manifests found");
    let agent = |line: &str| has_word(line, "auditferry").then(|| "the agent".to_string());
    found.extend(
        ["lib.rs", "forty.rs"].iter().flat_map(|f| offenders(&[&format!("examples/custom_sink/src/{f}")], agent)),
    );
    none("agent → sinks → contract, and no sink knows another", found);
}

/// Where a sink waits or goes round all the same, how often in that file, and why: nowhere else (I7).
const WAITS: [(&str, &str, usize, &str); 14] = [
    ("file/src/append.rs", "while", 1, "looks back, block by block, for the last line break"),
    ("splunk_hec/src/ack.rs", "sleep_until", 1, "the interval between two questions for an acknowledgement"),
    ("splunk_hec/src/ack.rs", "timeout_at", 1, "the time after which an acknowledgement counts as lost"),
    (
        "splunk_hec/src/ack.rs",
        "loop",
        1,
        "round after round of questions, until this batch is among the answers or its time is over",
    ),
    ("splunk_hec/src/wire.rs", "while", 3, "reads an answer piece by piece; an error's causes to their end, twice"),
    ("splunk_hec/src/wire.rs", "retry", 1, "switches the HTTP library's own repeats off"),
    ("stdout/src/sink.rs", "while", 1, "writes on where a short write stopped, to know how much went out"),
    (
        "syslog/src/connect.rs",
        "timeout",
        3,
        "with TLS 1.3 a refused certificate shows after the handshake: at most 0.5 s; and each address has its share of the deadline",
    ),
    ("syslog/src/sink.rs", "for", 1, "reads away what the receiver says, 16 pieces at most at a time"),
    (
        "syslog/src/queue.rs",
        "sleep_until",
        1,
        "between two looks whether the peer's host has acknowledged what went out",
    ),
    ("syslog/src/sink.rs", "loop", 1, "looks until every byte of a batch is acknowledged, or none was for 8 s"),
    ("syslog/src/sink.rs", "while", 1, "looks until our end is acknowledged, within the agent's 5 s for a clean stop"),
    ("syslog/src/sink.rs", "timeout_at", 1, "an end with a reset behind it was no orderly one: at most 1 s"),
    ("tls/src/explain.rs", "for", 1, "an error's causes, 16 deep at most"),
];

/// Functions of tokio and std that wait or start something. As a method (`request.timeout(…)`) they are a library's own business.
const CALLS: [&str; 10] = [
    "sleep",
    "sleep_until",
    "interval",
    "interval_at",
    "timeout",
    "timeout_at",
    "park",
    "park_timeout",
    "spawn",
    "repeat_with",
];

/// Methods that wait, start something, or try again. A thread's builder has `spawn`, backon has `retry`.
const METHODS: [&str; 6] = ["spawn", "retry", "recv_timeout", "recv_deadline", "wait_timeout", "tick"];

/// Each loop, wait and start in the line, outside strings. A `for` over what is there ends with it; one that counts tries again, perhaps.
fn of_the_agent(line: &str) -> Vec<&'static str> {
    let code: String = line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let imports = code.trim_start().starts_with("use ") || code.trim_start().starts_with("pub use ");
    let mut found = Vec::new();
    for word in ["loop", "while", "for"].into_iter().chain(CALLS).chain(METHODS.into_iter().skip(1)) {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        for (at, _) in code.match_indices(word) {
            let (before, after) = (&code[..at], &code[at + word.len()..]);
            if before.ends_with(part) || after.starts_with(part) {
                continue;
            }
            let method = before.trim_end().ends_with('.');
            let call = after.starts_with('(') && !before.trim_end().ends_with("fn");
            // under another name nothing below would see it: `use … as pause`, `let pause = tokio::time::sleep;`
            let renamed =
                after.starts_with(" as ") || (before.ends_with("::") && !imports && !after.starts_with(['(', ':']));
            let counts = || {
                let (each, over) = after.split_once(" in ").unwrap_or_default();
                each.trim() == "_" || over.contains("..") || over.contains("repeat")
            };
            if match word {
                "loop" | "while" => true,
                "for" => counts(),
                _ if method => call && METHODS.contains(&word),
                _ => CALLS.contains(&word) && (call || renamed),
            } {
                found.push(word);
            }
        }
    }
    found
}

#[test]
fn no_sink_has_a_loop_or_a_sleep_of_its_own() {
    let mut seen = std::collections::BTreeMap::<(String, &str), Vec<String>>::new();
    // what the sinks share is held to the same
    let folders = crates().into_iter().chain([root().join("sinks/tls")]);
    for path in folders.flat_map(|folder| files(&shown(&folder.join("src")), "rs")).filter(|p| !tests_only(p)) {
        let place = shown(&path).trim_start_matches("sinks/").to_string();
        for (n, line) in code_with_excuses(&read(&path)) {
            for word in of_the_agent(line) {
                seen.entry((place.clone(), word)).or_default().push(format!("{place}:{n}: `{word}`: {}", line.trim()));
            }
        }
    }
    for (file, word, allowed, why) in WAITS {
        println!("{file}: `{word}`, {allowed}: {why}");
        let lines = seen.remove(&(file.to_string(), word)).unwrap_or_default();
        assert!(lines.len() >= allowed, "{file} has `{word}` {} times: bring the list up to date", lines.len());
        if lines.len() > allowed {
            seen.insert((format!("{file}: more than the list allows ({allowed})"), word), lines);
        }
    }
    let found = seen.into_values().flatten().collect();
    none("a sink tries once and says what happened; loops, waits and tasks are the agent's (I7)", found);
}

#[test]
fn the_rule_sees_loops_and_waits() {
    for (line, words) in [
        ("loop {", &["loop"][..]),
        ("while let Some(x) = next {", &["while"]),
        ("tokio::time::sleep(pause).await;", &["sleep"]),
        ("timeout(WAIT, read).await", &["timeout"]),
        ("std::thread::Builder::new().spawn(run)", &["spawn"]),
        ("let pause = sleep_until(end); loop {}", &["loop", "sleep_until"]),
        ("sleep(a).await; sleep(b).await;", &["sleep", "sleep"]),
        ("for _ in 0..5 {", &["for"]),
        ("for attempt in 1..=TRIES {", &["for"]),
        ("for x in std::iter::repeat(()) {", &["for"]),
        ("send.retry(policy).await", &["retry"]),
        ("let next = receiver.recv_timeout(WAIT);", &["recv_timeout"]),
        ("use tokio::time::sleep as pause;", &["sleep"]),
        ("use tokio::time::{Instant, timeout as within};", &["timeout"]),
        ("let pause = tokio::time::sleep;", &["sleep"]),
        ("std::thread::park_timeout(WAIT);", &["park_timeout"]),
        ("use tokio::time::{sleep, timeout};", &[]),
        ("for message in batch.iter() {", &[]),
        ("impl Sink for Open {", &[]),
        ("SinkError::retry(words)", &[]),
        ("request.timeout(within).send()", &[]),
        ("spawn_blocking(move || write())", &[]),
        ("duration(&mut options, \"timeout\", range)", &[]),
        ("\"a loop, a while\"", &[]),
        ("async fn sleep(&self) {", &[]),
    ] {
        assert_eq!(of_the_agent(line), words, "{line}");
    }
}

#[test]
fn every_sink_crate_has_the_same_shape() {
    let crates = crates();
    assert!(crates.len() >= 5, "{crates:?}");
    let mut missing = Vec::new();
    for folder in &crates {
        let shape = ["Cargo.toml", "README.md", "sample.toml", "src/lib.rs", "tests/conformance.rs"];
        missing.extend(shape.iter().map(|file| folder.join(file)).filter(|path| !path.is_file()).map(|p| shown(&p)));
    }
    none("a sink crate lacks", missing);
    let mut found = Vec::new();
    let kinds = sinks::registry();
    for folder in &crates {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (sample, readme) = (read(&folder.join("sample.toml")), read(&folder.join("README.md")));
        let root = toml_span::parse(&sample).unwrap_or_else(|error| panic!("{name}: sample.toml: {error}"));
        let table = root.pointer("/sink/0").and_then(|sink| sink.as_table());
        let table = table.unwrap_or_else(|| panic!("{name}: sample.toml: no [[sink]]"));
        let general = ["name", "kind", "codec", "raw_data", "start", "sources", "filter", "batch"];
        let own = table.keys().map(|key| key.name.to_string()).filter(|key| !general.contains(&key.as_str()));
        found.extend(own.filter(|key| !readme.contains(&format!("`{key}`"))).map(|key| format!("{name}: {key}")));
        match kinds.iter().find(|kind| kind.name == name) {
            Some(kind) => assert_eq!(kind.sample, sample, "{name}: KIND.sample is not sample.toml"),
            None => found.push(format!("src/sinks.rs: {name}")),
        }
        let table = format!("]({name}/README.md)");
        let list = read(&super::root().join("sinks/README.md"));
        found.extend((!list.contains(&table)).then(|| format!("sinks/README.md: {name}")));
    }
    none("an option of a sample that its README does not name, or a sink that a list lacks", found);
}

#[test]
fn the_sink_in_forty_lines_is_the_one_that_passes_the_suite() {
    let code = read(&root().join("examples/custom_sink/src/forty.rs"));
    let readme = read(&root().join("sinks/README.md"));
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    assert!(shown == code, "sinks/README.md and examples/custom_sink/src/forty.rs differ");
    let lines = code.lines().filter(|line| line.contains(|c: char| c.is_alphabetic())).count();
    assert!(lines <= 40, "{lines} lines that are more than brackets");
}

/// Keys that a sink kind takes beside those of every sink.
fn own_keys(kind: &auditferry_contract::SinkKind) -> Vec<String> {
    let mut value = toml_span::parse("zzzzzzzz = 1").expect("TOML");
    let table = Options::new(&mut value).expect("a table");
    let format = Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" };
    let errors = (kind.check)(table, &format).err().map(|e| e.errors).unwrap_or_default();
    let mut keys = errors.into_iter().find_map(|e| match e.kind {
        ErrorKind::UnexpectedKeys { expected, .. } => Some(expected),
        _ => None,
    });
    keys.iter_mut().for_each(|keys| keys.dedup());
    keys.unwrap_or_else(|| panic!("{}: an unknown key is taken", kind.name))
}

#[test]
fn every_option_of_a_sink_stands_in_its_readme() {
    let kinds = sinks::registry();
    let mut found = Vec::new();
    for kind in &kinds {
        let readme = root().join("sinks").join(kind.name).join("README.md");
        let text = read(&readme);
        found.extend(
            own_keys(kind)
                .iter()
                .filter(|key| !text.contains(&format!("`{key}`")))
                .map(|key| format!("{}: {key}", shown(&readme))),
        );
    }
    none("an option that nobody reads about is not there", found);
}

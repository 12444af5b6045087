//! Holds the house to its rules: how long a file is, who may know whom, what the documentation must name.
//!
//! A line that breaks a rule for a good reason says so at its end, or on the line above: `// tidy: REASON`. Where clippy knows the rule as
//! well, its `#[expect(clippy::disallowed_methods, reason = …)]` right above is enough.

#[path = "tidy/packaging.rs"]
mod packaging;
#[path = "tidy/promises.rs"]
mod promises;
#[path = "tidy/runbook.rs"]
mod runbook;
#[path = "tidy/sinks.rs"]
mod sink_rules;
#[path = "tidy/watching.rs"]
mod watching;

use std::{
    fs,
    path::{Path, PathBuf},
};

use auditferry::{cli, config, sinks};
use auditferry_contract::toml_span;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `place` with this extension, named from the root; build results and hidden files are left out.
fn files(place: &str, extension: &str) -> Vec<PathBuf> {
    let start = root().join(place);
    let mut found = Vec::new();
    let mut folders = vec![start.clone()];
    if start.is_file() {
        return vec![start];
    }
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("readable").path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Lines of code: no comments, nothing from the file's own test module on.
fn code_with_excuses(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<_> = text.lines().collect();
    let tests = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{');
    let end = lines.windows(2).position(tests).unwrap_or(lines.len());
    lines[..end].iter().enumerate().map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default())).collect()
}

/// The same without the lines that have a reason.
fn code(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<_> = text.lines().collect();
    let excused = |n: usize| {
        let above = n.checked_sub(1).map_or("", |n| lines[n].trim());
        let attribute = above.ends_with(")]") && lines[n.saturating_sub(4)..n].concat().contains("clippy::disallowed_");
        lines[n].contains("// tidy: ") || above.starts_with("// tidy: ") || attribute
    };
    code_with_excuses(text).into_iter().filter(|(n, _)| !excused(*n - 1)).collect()
}

/// True when `word` stands in `line` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part) && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// True for a file that holds nothing but tests: `tests.rs`, `NAME_tests.rs`.
fn tests_only(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("tests.rs"))
}

/// Lines of code under `places` in which `wrong` sees something, with what it sees.
fn offenders(places: &[&str], wrong: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for path in places.iter().flat_map(|place| files(place, "rs")).filter(|path| !tests_only(path)) {
        let lines = code(&read(&path)).into_iter().map(|(n, line)| (n, line.to_string())).collect::<Vec<_>>();
        found.extend(lines.iter().filter_map(|(n, line)| Some(format!("{}:{n}: {}", shown(&path), wrong(line)?))));
    }
    found
}

/// The first of `words` that stands in the line.
fn one_of<'a>(words: &'a [&str]) -> impl Fn(&str) -> Option<String> + 'a {
    |line| words.iter().find(|word| has_word(line, word)).map(|word| format!("`{word}`"))
}

/// A tree of values, by its path or by its import.
fn tree(line: &str) -> Option<String> {
    let import = line.contains("serde_json::{") && has_word(line, "Value");
    (import || line.contains("serde_json::Value") || line.contains("json!(")).then(|| "`serde_json::Value`".to_string())
}

/// A call that starts a task or thread; `spawn_blocking` only borrows a thread for one call that is awaited.
fn spawns(line: &str) -> Option<String> {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let call = line.match_indices("spawn(").any(|(at, _)| !line[..at].ends_with(name) && !line[..at].ends_with("fn "));
    call.then(|| "spawns".to_string())
}

fn none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

#[test]
fn the_scanner_sees_what_it_looks_for() {
    let text = "use std::collections::HashMap;\n// HashMap\nlet x: MyHashMap; // tidy: why\nf(HashMap) // tidy: why\n    // tidy: why\nHashMap\n#[expect(clippy::disallowed_types, reason = \"r\")]\nHashMap\n#[cfg(test)]\nmod tests;\nHashMap\n#[cfg(test)]\nmod t {\nHashMap";
    let hits: Vec<_> = code(text).into_iter().filter(|(_, l)| has_word(l, "HashMap")).map(|(n, _)| n).collect();
    assert_eq!(hits, [1, 11]);
    assert!(
        spawns("tokio::spawn(x)").is_some() && spawns("spawn_blocking(x)").is_none() && spawns("fn spawn(x)").is_none()
    );
    assert!(tree("use serde_json::{Map, Value};").is_some() && tree("let v: serde_json::Value").is_some());
    assert!(tree("\"Value\" => value").is_none() && tree("use serde_json::value::RawValue;").is_none());
    assert!(!files("src", "rs").is_empty() && files("no/such/place", "rs").is_empty());
}

#[test]
fn no_file_is_too_long() {
    let long = |path: &PathBuf| Some((read(path).lines().count(), shown(path))).filter(|(n, _)| *n > 400);
    let all = ["src", "sinks", "tests", "examples", "benches", "fuzz"].into_iter().flat_map(|place| files(place, "rs"));
    let found = all.filter_map(|path| long(&path)).map(|(n, path)| format!("{path}: {n} lines")).collect();
    none("a file is read in one sitting: at most 400 lines", found);
}

#[test]
fn what_is_pure_knows_no_world() {
    let pure = ["src/event", "src/codec", "src/budget.rs", "src/source/office365/window.rs"];
    let world = ["tokio", "rusqlite", "world", "World", "reqwest", "async"];
    let found = offenders(&pure, one_of(&world));
    none("mapping, encoding and arithmetic are pure: no runtime, no ledger, no world", found);
    none("these borrow from the record: no tree of values", offenders(&pure[..2], tree));
}

#[test]
fn no_order_is_left_to_chance() {
    let found = offenders(&["src", "sinks"], one_of(&["HashMap", "HashSet"]));
    none("use BTreeMap and BTreeSet: order can be seen", found);
}

#[test]
fn only_the_agent_spawns() {
    let mut found = offenders(&["src", "sinks"], spawns);
    // the receivers are programs of their own, and tests may do as they like
    let free = |line: &str| line.starts_with("sinks/conformance/") || line.contains("/tests/");
    found.retain(|line| !line.starts_with("src/agent.rs:") && !free(line));
    none("only src/agent.rs spawns, so that it alone knows what runs", found);
}

/// The keys of each table of a manifest, as `table.key`.
fn manifest(path: &Path) -> Vec<(String, String)> {
    let text = read(path);
    let root = toml_span::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", shown(path)));
    let mut keys = Vec::new();
    for (table, value) in root.as_table().into_iter().flatten() {
        let mut tables: Vec<_> = value.as_table().into_iter().collect();
        tables.extend(value.as_array().into_iter().flatten().filter_map(|v| v.as_table()));
        for inner in tables {
            keys.extend(inner.keys().map(|key| (table.name.to_string(), key.name.to_string())));
        }
    }
    keys
}

#[test]
fn every_test_runs_with_a_plain_cargo_test() {
    let mut found = Vec::new();
    for path in files(".", "toml").into_iter().filter(|p| p.ends_with("Cargo.toml")) {
        let keys = manifest(&path).into_iter().filter(|(table, key)| table == "test" && key == "required-features");
        found.extend(keys.map(|(table, key)| format!("{}: {table}.{key}", shown(&path))));
    }
    none("a test with required-features is skipped without a word", found);
}

/// True when the documentation names `word` as code: between backticks, in a table of TOML, or on a command line.
fn named(docs: &str, word: &str) -> bool {
    docs.lines().any(|line| {
        has_word(line, word)
            && (line.contains('`') || line.contains('=') || line.contains("auditferry ") || line.contains('|'))
    })
}

#[test]
fn every_option_metric_and_command_stands_in_the_documentation() {
    let readme = root().join("README.md");
    if !readme.is_file() {
        // the house is being built; from the README's first commit on, this holds
        return;
    }
    let docs: String = files("docs", "md").iter().chain([&readme]).map(|path| read(path)).collect();
    let mut missing = Vec::new();
    let keys = config::AgentConfig::KEYS.iter().chain(&config::SourceConfig::KEYS).chain(&config::SinkConfig::KEYS);
    missing.extend(keys.filter(|key| !named(&docs, key)).map(|key| format!("option {key}")));
    let command = cli::command(&sinks::registry());
    let commands = command.get_subcommands().map(|c| c.get_name()).filter(|name| *name != "help");
    missing.extend(commands.filter(|name| !named(&docs, name)).map(|name| format!("command {name}")));
    let metrics = root().join("src/metrics.rs");
    if metrics.is_file() {
        let names = metric_names(&read(&metrics));
        assert!(!names.is_empty(), "no metric found in src/metrics.rs: has the way they are written changed?");
        missing.extend(names.into_iter().filter(|name| !has_word(&docs, name)).map(|name| format!("metric {name}")));
    }
    none("README.md and docs/ must name", missing);
}

/// Names in quotes that begin with the product's name.
fn metric_names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (at, _) in text.match_indices("\"auditferry_") {
        let name: String =
            text[at + 1..].chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect();
        if text[at + 1 + name.len()..].starts_with('"') && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[test]
fn names_are_found_where_they_stand() {
    assert_eq!(
        metric_names("f(\"auditferry_a_total\", \"auditferry_a_total\", \"auditferry_\", \"auditferry_x y\")"),
        ["auditferry_a_total", "auditferry_"]
    );
    assert!(named("| `poll` | 60s |", "poll") && named("poll = \"15s\"", "poll") && !named("we poll often", "poll"));
    assert!(!named("`body_budget`", "budget"));
}

//! Every code that the agent can write has its entry in the runbook, and the runbook explains none that is not there.

use std::collections::BTreeSet;

use crate::{files, none, read, root, tests_only};

/// String literals that stand right behind `opening`, line breaks between them allowed.
fn behind<'a>(text: &'a str, opening: &'a str) -> impl Iterator<Item = String> + 'a {
    text.match_indices(opening).filter_map(move |(at, _)| {
        let literal = text[at + opening.len()..].trim_start().strip_prefix('"')?;
        let code = &literal[..literal.find('"')?];
        is_code(code).then(|| code.to_owned())
    })
}

fn is_code(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    // `AF429`, `Dns`; not the verb of a request
    let verb = text.chars().all(|c| c.is_ascii_uppercase());
    first && !verb && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// What a function whose whole business are codes returns: the literals behind its arrows.
fn of_function(text: &str, head: &str) -> Vec<String> {
    let Some(at) = text.find(head) else { return Vec::new() };
    let body = &text[at..];
    let body = &body[..body.find("\n}\n").unwrap_or(body.len())];
    behind(body, "=>").chain(behind(body, "=> {")).chain(behind(body, "Some(")).collect()
}

/// The last word in brackets of an error's format: `… [DiskFull]"`.
fn in_brackets(text: &str) -> impl Iterator<Item = String> + '_ {
    text.match_indices("]\"").filter_map(|(at, _)| {
        let (_, code) = text[..at].rsplit_once(" [")?;
        is_code(code).then(|| code.to_owned())
    })
}

fn written() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for path in ["src", "sinks"].into_iter().flat_map(|place| files(place, "rs")).filter(|path| !tests_only(path)) {
        let text = read(&path);
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text).to_owned();
        codes.extend(behind(&text, "coded("));
        codes.extend(in_brackets(&text));
        for class in ["FixConfig", "Retry", "Backoff", "Gone"] {
            codes.extend(behind(&text, &format!("own(Class::{class},")));
            codes.extend(behind(&text, &format!("own(\n                Class::{class},")));
        }
        for head in ["fn entry(", "fn code("] {
            codes.extend(of_function(&text, head));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            // words about connections: the code stands first in a pair, or in a call
            "http_client.rs" => codes.extend(behind(&text, "connect(")),
            "wire.rs" | "words.rs" => codes.extend(behind(&text, "(").filter(|code| !code.ends_with("HTTP"))),
            "errors.rs" => codes.extend(behind(&text, "HttpError::Timeout(_) => (Class::Retry,")),
            "token.rs" => codes.extend(behind(&text, "add(")),
            _ => {}
        }
        for step in
            ["Step::failed(\"clock\",", "Step::failed(\"cloud\",", "Step::failed(\"open\",", "Step::warning(step,"]
        {
            codes.extend(behind(&text, step));
        }
    }
    let table: serde_json::Value =
        serde_json::from_str(&read(&root().join("src/source/office365/errors.json"))).unwrap_or_default();
    for part in ["codes", "statuses"] {
        let rows = table[part].as_array().cloned().unwrap_or_default();
        codes.extend(rows.iter().filter_map(|row| Some(row["code"].as_str()?.to_owned())));
    }
    codes
}

fn explained() -> BTreeSet<String> {
    let page = read(&root().join("docs/runbook.md"));
    let part = page.split_once("\n## Codes\n").map_or("", |(_, part)| part).to_owned();
    let headings = part.lines().filter_map(|line| line.strip_prefix("#### "));
    let rows = part.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
    headings.chain(rows).map(str::to_owned).collect()
}

#[test]
fn every_code_has_its_entry_in_the_runbook() {
    let (written, explained) = (written(), explained());
    for known in [
        "HecToken",
        "TlsIssuer",
        "Dns",
        "DiskFull",
        "TwoAgents",
        "KafkaTopic",
        "AuditOff",
        "NoPermission",
        "WrongCloud",
        "AADSTS7000215",
    ] {
        assert!(written.contains(known), "the scanner does not see {known}");
    }
    none("codes without an entry in docs/runbook.md", written.difference(&explained).cloned().collect());
}

#[test]
fn the_runbook_explains_no_code_that_is_gone() {
    let all: String =
        ["src", "sinks"].into_iter().flat_map(|place| files(place, "rs")).map(|path| read(&path)).collect();
    let table = read(&root().join("src/source/office365/errors.json"));
    let gone = explained().into_iter().filter(|code| {
        !all.contains(&format!("\"{code}\""))
            && !all.contains(&format!("[{code}]"))
            && !table.contains(&format!("\"{code}\""))
    });
    none("entries of docs/runbook.md that no code of the agent leads to", gone.collect());
}

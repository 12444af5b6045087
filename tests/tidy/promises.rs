//! `docs/promises.md` names tests as `FILE::NAME`, and scripts by their path: all of them are there.

use super::*;

/// What stands between backticks and looks like a test, or a script of `tests/soak` or `tests/peers`.
fn promised(page: &str) -> Vec<&str> {
    let spans = page.split('`').skip(1).step_by(2);
    let script = |span: &str| span.starts_with("tests/soak/") || span.starts_with("tests/peers/");
    spans.filter(|span| span.contains(".rs::") || script(span)).collect()
}

/// Why this one proves nothing; `None` when it is there.
fn missing(promise: &str) -> Option<String> {
    let Some((file, name)) = promise.split_once("::") else {
        let script = promise.split(' ').next().unwrap_or_default();
        return (!root().join(script).is_file()).then(|| format!("{promise}: there is no such script"));
    };
    let path = root().join(file);
    if !path.is_file() {
        return Some(format!("{promise}: there is no such file"));
    }
    let text = read(&path);
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").is_some_and(|rest| rest.split('(').next() == Some(name))
    });
    // its attributes stand above it
    let is_test = at.is_some_and(|at| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        let attributes = above.filter(|line| line.starts_with("#["));
        attributes.clone().any(|line| line.contains("test")) && !attributes.clone().any(|line| line.contains("ignore"))
    });
    (!is_test).then(|| format!("{promise}: there is no such test that runs"))
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let page = read(&root().join("docs/promises.md"));
    let promised = promised(&page);
    assert!(promised.len() > 50, "only {} found: has the way they are written changed?", promised.len());
    none("docs/promises.md names what is not there", promised.into_iter().filter_map(missing).collect());
    for invariant in 1..=11 {
        let row = page.lines().find(|line| line.starts_with(&format!("| I{invariant} |")));
        assert!(row.is_some_and(|row| row.contains(".rs::")), "I{invariant} has no test");
    }
}

#[test]
fn a_promise_without_its_test_is_seen() {
    let page = "`a.rs::b`, `c`, `tests/soak/run refused`, `d`, `tests/peers/run kafka`";
    assert_eq!(promised(page), ["a.rs::b", "tests/soak/run refused", "tests/peers/run kafka"]);
    let here = "tests/tidy/promises.rs::a_promise_without_its_test_is_seen";
    assert_eq!(missing(here), None);
    assert_eq!(missing("tests/soak/run refused"), None);
    for wrong in
        ["tests/tidy/promises.rs::promised", "tests/tidy/promises.rs::gone", "tests/gone.rs::x", "tests/soak/gone"]
    {
        assert!(missing(wrong).is_some(), "{wrong}");
    }
}

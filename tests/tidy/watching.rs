//! `packaging/prometheus/alerts.yml` and `packaging/grafana/auditferry.json` ask only for metrics and labels that the agent exports, and each
//! alert has its entry in `docs/runbook.md` and its cases in `alerts_test.yml`. `promtool` reads the expressions themselves: `tests/peers/run prometheus`.

use std::collections::{BTreeMap, BTreeSet};

use auditferry::metrics;
use serde_json::Value;

use super::*;

const ALERTS: &str = "packaging/prometheus/alerts.yml";
const DASHBOARD: &str = "packaging/grafana/auditferry.json";

/// Prometheus adds these itself; `state` of `ALERTS` is not used.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// What an expression asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Metrics with the labels in their braces.
    metrics: Vec<(String, Vec<String>)>,
    /// Labels of `by (…)`, `on (…)` and the like.
    grouped: Vec<String>,
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The text of an expression without what stands in quotes; an error names what is not closed.
fn unquoted(expr: &str) -> Result<String, String> {
    let (mut out, mut open, mut quoted) = (String::new(), Vec::new(), false);
    for c in expr.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => continue,
            '(' | '{' | '[' => open.push(c),
            ')' | '}' | ']' => {
                let wanted = if c == ')' { '(' } else { char::from(c as u8 - 2) };
                if open.pop() != Some(wanted) {
                    return Err(format!("`{c}` closes nothing in {expr}"));
                }
            }
            _ => {}
        }
        out.push(c);
    }
    if quoted || !open.is_empty() { Err(format!("{open:?} or a quote is not closed in {expr}")) } else { Ok(out) }
}

/// Names in a list that ends with `close`, up to an operator: `{a="…",b=~"…"}`, `(a, b)`.
fn list(text: &str, close: char) -> Vec<String> {
    let inner = text.split(close).next().unwrap_or_default();
    let names = inner.split(',').map(|part| part.trim().chars().take_while(|c| is_name(*c)).collect::<String>());
    names.filter(|name| !name.is_empty()).collect()
}

fn asked(expr: &str) -> Result<Asked, String> {
    let text = unquoted(expr)?;
    let mut found = Asked::default();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        rest = &rest[at..];
        let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
        rest = &rest[name.len()..];
        if name.starts_with("auditferry_") {
            let labels = rest.strip_prefix('{').map(|rest| list(rest, '}')).unwrap_or_default();
            found.metrics.push((name, labels));
        } else if ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&name.as_str()) {
            found.grouped.extend(rest.trim_start().strip_prefix('(').map(|rest| list(rest, ')')).unwrap_or_default());
        }
        // a list of labels is no list of metrics
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside.split_once('}').map_or("", |(_, rest)| rest);
        }
    }
    Ok(found)
}

/// What is wrong with an expression, and with the labels that its words use (`$labels.x`, `{{x}}`).
fn faults(expr: &str, words: &[String]) -> Vec<String> {
    let known: BTreeMap<_, _> = metrics::ALL.iter().map(|definition| (definition.0, definition.2)).collect();
    let asked = match asked(expr) {
        Ok(asked) => asked,
        Err(fault) => return vec![fault],
    };
    let (mut faults, mut labels) = (Vec::new(), BTreeSet::from(SCRAPED));
    for (name, used) in &asked.metrics {
        let Some(has) = known.get(name.as_str()) else {
            faults.push(format!("there is no metric {name}: {expr}"));
            continue;
        };
        labels.extend(has.iter());
        let unknown = used.iter().filter(|label| !has.contains(&label.as_str()) && !SCRAPED.contains(&label.as_str()));
        faults.extend(unknown.map(|label| format!("{name} has no label {label}: {expr}")));
    }
    let unknown = asked.grouped.iter().chain(words).filter(|label| !labels.contains(label.as_str()));
    faults.extend(unknown.map(|label| format!("nothing here has a label {label}: {expr}")));
    faults
}

/// Names that follow `mark` in a text.
fn after(text: &str, mark: &str) -> Vec<String> {
    let follow = text.split(mark).skip(1).map(|rest| rest.chars().take_while(|c| is_name(*c)).collect::<String>());
    follow.filter(|name| !name.is_empty()).collect()
}

/// An alert: name, expression, everything else.
struct Alert {
    name: String,
    expr: String,
    rest: String,
}

fn alerts() -> Vec<Alert> {
    let text = read(&root().join(ALERTS));
    let parts = text.split("- alert: ").skip(1);
    let line = |part: &str, key: &str| {
        part.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).unwrap_or_default()
    };
    parts
        .map(|part| Alert {
            name: part.lines().next().unwrap_or_default().to_owned(),
            expr: line(part, "expr: "),
            rest: part.to_owned(),
        })
        .collect()
}

#[test]
fn every_alert_asks_for_what_is_exported_and_has_its_words_its_entry_and_its_cases() {
    let runbook = read(&root().join("docs/runbook.md"));
    let entries = runbook.split("## Alerts").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let entries: Vec<&str> = entries.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let cases = read(&root().join("packaging/prometheus/alerts_test.yml"));
    let alerts = alerts();
    assert!(alerts.len() >= 15, "only {} alerts found: has the way they are written changed?", alerts.len());
    let mut found = Vec::new();
    for Alert { name, expr, rest } in &alerts {
        found.extend(faults(expr, &after(rest, "$labels.")).into_iter().map(|fault| format!("{name}: {fault}")));
        let severity = ["severity: page", "severity: ticket"].iter().any(|severity| rest.contains(severity));
        for (there, what) in [
            (!expr.is_empty(), "an expr on one line"),
            (severity, "a severity"),
            (rest.contains("summary: "), "a summary"),
            (rest.contains("First: "), "a description that says what to do first"),
            (rest.contains(&format!("docs/runbook.md#{}\n", name.to_lowercase())), "a runbook_url of its own"),
            (entries.contains(&name.as_str()), "an entry in docs/runbook.md"),
            (has_word(&cases, name), "a case in alerts_test.yml"),
        ] {
            if !there {
                found.push(format!("{name} has not {what}"));
            }
        }
    }
    let others = entries.iter().filter(|entry| !alerts.iter().any(|alert| alert.name == **entry));
    found.extend(others.map(|entry| format!("docs/runbook.md has an entry {entry}, and there is no such alert")));
    none("alerts, their cases and the runbook belong together", found);
}

/// Every query below this value, with its legend.
fn queries(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            let text = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            if members.contains_key("expr") {
                found.push((text("expr"), text("legendFormat") + &text("textFormat")));
            }
            if let Some(query) = members.get("definition").and_then(Value::as_str) {
                found.push((query.to_owned(), String::new()));
            }
            members.values().for_each(|inner| queries(inner, found));
        }
        Value::Array(values) => values.iter().for_each(|inner| queries(inner, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_is_exported_and_shows_the_four_loops() {
    let text = read(&root().join(DASHBOARD));
    let dashboard: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{DASHBOARD}: {error}"));
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() >= 30, "only {} queries found: has the way they are written changed?", found.len());
    none(
        "the dashboard asks for what nobody exports",
        found.iter().flat_map(|(expr, legend)| faults(expr, &after(legend, "{{"))).collect(),
    );
    let rows: Vec<&str> = dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .filter(|panel| panel["type"] == "row")
        .filter_map(|panel| panel["title"].as_str())
        .collect();
    for part in ["collect", "fetch", "deliver", "sweep"] {
        assert!(rows.iter().any(|row| row.contains(part)), "{part} has no row: {rows:?}");
    }
}

#[test]
fn a_name_or_label_that_nobody_exports_is_seen() {
    let of = |expr: &str| faults(expr, &[]);
    let good =
        "sum by (sink, job) (rate(auditferry_sink_attempts_total{sink=~\"a|by (x)\",outcome!=\"taken\"}[5m])) > 0";
    assert_eq!(of(good), [""; 0]);
    assert_eq!(
        asked("a_b{x=\"1\"} / on (job) auditferry_gaps{state=\"open\"}"),
        Ok(Asked { metrics: vec![("auditferry_gaps".into(), vec!["state".into()])], grouped: vec!["job".into()] })
    );
    for wrong in [
        "auditferry_gap > 0",
        "auditferry_gaps{sink=\"a\"} > 0",
        "sum by (stream) (auditferry_gaps)",
        "max(auditferry_gaps",
        "auditferry_gaps{state=\"open}",
        "auditferry_gaps] > 0",
    ] {
        assert_eq!(of(wrong).len(), 1, "{wrong}: {:?}", of(wrong));
    }
    assert_eq!(faults("auditferry_gaps", &["sink".into()]).len(), 1, "its words use a label that it has not");
    assert_eq!(after("{{ $labels.sink }} and {{ $labels.stream }}", "$labels."), ["sink", "stream"]);
}

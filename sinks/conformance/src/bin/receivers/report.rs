//! What arrived, what is missing, what came twice.

use std::{collections::BTreeMap, fs, path::Path};

use auditferry_conformance::fakes::Arrivals;
use auditferry_contract::EventId;
use serde::Serialize;

use crate::{expected::Files, receiver::Receivers};

/// How many ids of missing events are named.
const NAMED: usize = 5;

/// One receiver or file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name; of a file, its path.
    name: String,
    /// Messages, repeats included.
    messages: u64,
    /// Different events.
    events: usize,
    /// Messages without an event's id.
    nameless: u64,
    /// Expected events that did not arrive.
    missing: usize,
    /// The first of them.
    first_missing: Vec<String>,
    /// Events that came more than once.
    came_twice: usize,
    /// Messages that a receiver without repeats would not have got.
    repeats: u64,
    /// Events that nobody expects.
    unexpected: usize,
    /// What clients did against the protocol.
    faults: Vec<String>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Events that everybody must have.
    expected: usize,
    /// True when nobody misses any.
    complete: bool,
    /// Receivers first, then files.
    rows: Vec<Row>,
}

type Counts = BTreeMap<EventId, u32>;

impl Row {
    fn new(name: String, arrivals: &Arrivals, expected: &Counts, faults: Vec<String>) -> Self {
        let counts = arrivals.counts();
        let missing = || expected.keys().filter(|id| !counts.contains_key(id));
        Row {
            name,
            messages: arrivals.messages(),
            events: counts.len(),
            nameless: arrivals.nameless(),
            missing: missing().count(),
            first_missing: missing().take(NAMED).map(EventId::to_string).collect(),
            came_twice: counts.values().filter(|times| **times > 1).count(),
            repeats: counts.values().map(|times| u64::from(*times) - 1).sum(),
            unexpected: counts.keys().filter(|id| !expected.contains_key(id)).count(),
            faults,
        }
    }
}

impl Report {
    /// Compares everybody with the files; without files, with what anybody has.
    pub fn new(receivers: &Receivers, files: &Files) -> Self {
        let mut expected = Counts::new();
        for file in files.iter() {
            expected.extend(file.arrivals.counts());
        }
        if files.iter().next().is_none() {
            for receiver in receivers.iter() {
                expected.extend(receiver.arrivals.counts());
            }
        }
        let rows = receivers.iter().map(|r| Row::new(r.name.to_string(), &r.arrivals, &expected, r.faults()));
        let files = files.iter().map(|f| Row::new(f.path.display().to_string(), &f.arrivals, &expected, Vec::new()));
        Report::of(expected.len(), rows.chain(files).collect())
    }

    fn of(expected: usize, rows: Vec<Row>) -> Self {
        let complete = rows.iter().all(|row| row.missing == 0);
        Report { expected, complete, rows }
    }

    /// True when nobody misses anything.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// The JSON in a file, which is whole whenever somebody reads it.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let mut next = path.as_os_str().to_owned();
        next.push(".next");
        let written = fs::write(&next, self.json()).and_then(|()| fs::rename(&next, path));
        written.map_err(|error| format!("can't write {}: {error}", path.display()))
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let head = ["", "messages", "events", "missing", "came twice", "repeats"].map(str::to_string);
        let cells = |row: &Row| {
            let numbers = [row.messages, row.events as u64, row.missing as u64, row.came_twice as u64, row.repeats];
            let mut cells = vec![row.name.clone()];
            cells.extend(numbers.iter().map(u64::to_string));
            cells
        };
        let lines: Vec<Vec<String>> = [head.to_vec()].into_iter().chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let mut table = format!("\n{} events are expected\n\n", self.expected);
        for line in &lines {
            table.push_str(&format!("{:<1$}", line[0], width(0)));
            for (column, cell) in line.iter().enumerate().skip(1) {
                table.push_str(&format!("  {cell:>0$}", width(column)));
            }
            table.push('\n');
        }
        for row in &self.rows {
            for id in &row.first_missing {
                table.push_str(&format!("\n{} misses {id}", row.name));
            }
            if row.missing > NAMED {
                table.push_str(&format!("\n{} misses {} more", row.name, row.missing - NAMED));
            }
            let others =
                [(row.nameless, "messages have no event id"), (row.unexpected as u64, "events are not expected")];
            for (count, words) in others.into_iter().filter(|(count, _)| *count > 0) {
                table.push_str(&format!("\n{}: {count} {words}", row.name));
            }
            for fault in row.faults.iter().take(NAMED) {
                table.push_str(&format!("\n{}: against the protocol: {fault}", row.name));
            }
        }
        let verdict = match (self.complete, self.expected) {
            (false, _) => "something is missing",
            (true, 0) => "nothing arrived, so this says nothing",
            (true, _) => "nothing is missing",
        };
        let gap = if table.ends_with('\n') { "\n" } else { "\n\n" };
        table + gap + verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> EventId {
        EventId::from_digest([n; 16])
    }

    #[test]
    fn what_is_missing_and_what_came_twice() {
        let arrivals = Arrivals::counting();
        for n in [1, 2, 2, 2, 3, 3, 9] {
            arrivals.push(Some(id(n)), b"");
        }
        arrivals.push(None, b"");
        let expected = (1..9).map(|n| (id(n), 1)).collect();
        let row = Row::new("x".into(), &arrivals, &expected, vec!["odd".into()]);
        let first_missing = (4..9).map(|n| id(n).to_string()).collect();
        let wanted = Row {
            name: "x".into(),
            messages: 8,
            events: 4,
            nameless: 1,
            missing: 5,
            first_missing,
            came_twice: 2,
            repeats: 3,
            unexpected: 1,
            faults: vec!["odd".into()],
        };
        assert_eq!(row, wanted);
        let report = Report::of(8, vec![row]);
        assert!(!report.complete());
        let table = report.table();
        for words in
            ["x         8       4        5           2        3", "x misses 04040404", "something is missing", "odd"]
        {
            assert!(table.contains(words), "{words}: {table}");
        }
    }
}

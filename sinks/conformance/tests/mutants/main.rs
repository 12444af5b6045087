//! The suite must find what it claims to find: sinks in memory that pass, and faulty ones that each fail at their case.

mod memory;

use std::panic::{AssertUnwindSafe, catch_unwind};

use auditferry_conformance::{CASES, all};
use memory::InMemory;

fn run(manner: &'static str) -> Result<Vec<&'static str>, String> {
    // nothing outside this thread takes part, so the clock can jump over every wait
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let run = || runtime.block_on(all(|| Box::new(InMemory::new(manner))));
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| match panic.downcast_ref::<&str>() {
        Some(words) => words.to_string(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    })
}

#[test]
fn good_sinks_pass_every_case() {
    for manner in ["", "halving", "unsure", "silent", "shuffled", "knowing", "parting"] {
        assert_eq!(run(manner), Ok(Vec::new()), "{manner}");
    }
    assert_eq!(run("single"), Ok(vec!["abandoned beside others"]));
}

/// A manner, and how the words of its failure begin.
const FAULTY: [(&str, &str); 58] = [
    ("lenient", "sample: an unknown option"),
    ("no calls", "limits: "),
    ("forgetful", "all taken: `Ok` before"),
    ("late", "all taken: `Ok` before"),
    ("clinging", "all taken: the batch is still held"),
    ("fickle", "all taken: the sink gives its connection up"),
    ("chatty", "empty batch: "),
    ("ascii", "all of unicode: "),
    ("cutting", "largest message: "),
    ("short of breath", "largest batch: "),
    ("splitting", "line break: "),
    ("pardoning", "poison: message 6 is said to be taken"),
    ("hopeless", "poison: the same message is to be tried"),
    ("panicking", "poison: the messages are at fault"),
    ("sweeping", "poison: message 0 is refused for another"),
    ("squinting", "poison: message 7 is refused for another"),
    ("careless with the rest", "poison: message 7 is said to be taken, and is not there"),
    ("repeating", "poison: message 0 came 2 times"),
    ("out of range", "poison: a position outside"),
    ("stuttering", "poison: a position is named twice"),
    ("quoting", "poison: the cause holds what a message says"),
    ("shrinking", "batch too large: "),
    ("stuck", "batch too large: the same message is to be tried"),
    ("condemning", "batch too large: single messages are refused"),
    ("welcome", "unauthorised: `Ok` though"),
    ("accusing", "unauthorised: the messages are blamed"),
    ("patient", "unauthorised: nobody is told to act"),
    ("trusting AnswerLost", "answer lost: `Ok` though nobody said so"),
    ("resentful AnswerLost", "answer lost: the messages are blamed"),
    ("alarmed AnswerLost", "answer lost: a person is to act"),
    ("claiming AnswerLost", "answer lost: some are said to be taken"),
    ("insistent AnswerLost", "answer lost: what was sent twice"),
    ("trusting AnswerUnreadable", "answer unreadable: `Ok` though nobody said so"),
    ("resentful AnswerUnreadable", "answer unreadable: the messages are blamed"),
    ("alarmed AnswerUnreadable", "answer unreadable: a person is to act"),
    ("claiming AnswerUnreadable", "answer unreadable: some are said to be taken"),
    ("insistent AnswerUnreadable", "answer unreadable: what was sent twice"),
    ("hasty", "slow: `Ok` before"),
    ("stubborn", "one attempt per call: 2 in one call"),
    ("uncounted", "one attempt per call: nothing was counted"),
    ("queueing", "calls at once: some calls have no answer"),
    ("leading", "abandoned beside others: some calls have no answer"),
    ("tearing", "cancelled, then reopened: something arrived that was never sent"),
    ("hopeful", "unwritable, then fine: `Ok` though"),
    ("blaming", "unwritable, then fine: the messages are blamed"),
    ("mute", "unwritable, then fine: the cause says nothing"),
    ("leaking", "unwritable, then fine: the cause holds a secret"),
    ("rambling", "unwritable, then fine: the cause has several lines"),
    ("deaf", "hung up: the sink does not notice"),
    ("gruff", "hung up: the sink takes an orderly end"),
    ("ghostly", "hung up: `Ok` on a connection"),
    ("settling", "hung up: `Ok` of this sink can be disproved"),
    ("lingering", "closed, all read: closing takes longer"),
    ("mistrustful", "closed, all read: what was read is not settled"),
    ("sanguine", "closed, unread: the peer hangs"),
    ("glib", "closed, unread: the peer broken off"),
    ("careless", "torn end: it is still there"),
    ("greedy", "torn end: it is still there after opening, or more is gone"),
];

#[test]
fn every_faulty_sink_fails_at_its_case() {
    for (manner, words) in FAULTY {
        match run(manner) {
            Ok(_) => panic!("a {manner} sink passes"),
            Err(found) => assert!(found.starts_with(words), "a {manner} sink fails elsewhere: {found}"),
        }
    }
}

#[test]
fn every_case_catches_somebody() {
    let idle = |case: &&str| !FAULTY.iter().any(|(_, words)| words.starts_with(&format!("{case}: ")));
    assert_eq!(CASES.map(|case| case.name).iter().filter(|case| idle(case)).collect::<Vec<_>>(), [&""; 0]);
}

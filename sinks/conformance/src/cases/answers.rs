//! What the destination says, or fails to say, about a batch that it has.

use std::time::Duration;

use auditferry_contract::SinkError;
use tokio::time::Instant;

use crate::{Destination, POISON, State, messages::small, trial::Trial};

pub async fn lost(to: &dyn Destination) -> bool {
    unclear(Trial::new("answer lost", to), State::AnswerLost).await
}

pub async fn unreadable(to: &dyn Destination) -> bool {
    unclear(Trial::new("answer unreadable", to), State::AnswerUnreadable).await
}

/// The destination has the batch and nobody knows: it must go out again.
async fn unclear(trial: Trial<'_>, state: State) -> bool {
    let name = trial.name;
    let sink = trial.open().await;
    if !trial.to.arrange(state) {
        return false;
    }
    let mut bodies = small(name, trial.at_most(11));
    let extra = bodies.pop().unwrap_or_default();
    match trial.call(sink.as_ref(), &bodies).await {
        Err(SinkError::Retry { untaken, .. }) => {
            let all = untaken.is_empty() || untaken.len() == bodies.len();
            assert!(all, "{name}: some are said to be taken though nobody said so");
        }
        Err(SinkError::Refused { .. }) => panic!("{name}: the messages are blamed for it"),
        Err(SinkError::Blocked { cause }) => panic!("{name}: a person is to act, though it passes: {cause}"),
        Ok(()) if trial.to.knows_repeats() => {
            trial.exactly(&bodies).await;
            return true;
        }
        Ok(()) => panic!("{name}: `Ok` though nobody said so"),
    }
    // of the destination itself: without this the case would try a refused batch
    trial.at_least(&bodies).await;
    drop(sink);
    let sink = trial.open().await;
    let again: Vec<_> = bodies.iter().chain([&extra]).cloned().collect();
    trial.deliver(sink.as_ref(), &again).await;
    trial.at_least(&again).await;
    assert_eq!(trial.times(&extra), 1, "{name}: what was sent once is there several times");
    assert!(bodies.iter().all(|b| trial.times(b) <= 2), "{name}: what was sent twice is there more often");
    true
}

pub async fn slow(to: &dyn Destination) -> bool {
    let trial = Trial::new("slow", to);
    let sink = trial.open().await;
    if !to.arrange(State::Slow) {
        return false;
    }
    let bodies = small("slow", trial.at_most(10));
    let start = Instant::now();
    trial.deliver(sink.as_ref(), &bodies).await;
    let early = to.confirms() && start.elapsed() < Duration::from_millis(450);
    assert!(!early, "slow: `Ok` before the destination answered");
    trial.exactly(&bodies).await;

    // abandoned while the answer is on its way: it is there, or is not, and goes out again
    let more = small("slow, abandoned", trial.at_most(10));
    let abandoned = tokio::time::timeout(Duration::from_millis(100), trial.call(sink.as_ref(), &more)).await;
    assert!(abandoned.is_err() || !to.confirms(), "slow: an answer before the destination answered: {abandoned:?}");
    drop(sink);
    trial.must_arrange(State::Fine);
    let sink = trial.open().await;
    trial.deliver(sink.as_ref(), &more).await;
    trial.at_least(&[bodies, more].concat()).await;
    true
}

pub async fn one_attempt(to: &dyn Destination) -> bool {
    let trial = Trial::new("one attempt per call", to);
    if to.attempts().is_none() {
        return false;
    }
    let count = || to.attempts().unwrap_or_default();
    let poisoned = vec![format!("{{\"text\":\"{POISON}\"}}").into_bytes()];
    // whether the call gets as far as the destination, which then must have counted it
    let states = [
        (State::Unwritable, false),
        (State::Unauthorised, false),
        (State::RefusesPoison, true),
        (State::AnswerLost, true),
        (State::AnswerUnreadable, true),
    ];
    let mut tried = false;
    for (state, arrives) in states {
        for round in 0..3 {
            if !to.arrange(state) {
                break;
            }
            tried = true;
            let before = count();
            let answer = trial.try_anew(&poisoned).await;
            let attempts = count() - before;
            assert!(attempts <= 1, "one attempt per call: {attempts} in one call, {state:?}, round {round}");
            assert!(attempts == 1 || !arrives, "one attempt per call: nothing was counted, {state:?}: {answer:?}");
            trial.must_arrange(State::Fine);
        }
    }
    tried
}

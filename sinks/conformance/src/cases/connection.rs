//! Connections: several calls on one, calls given up, destinations that go away and come back.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use auditferry_contract::{Sink, SinkError};
use tokio::sync::Semaphore;

use crate::{
    Destination, State,
    messages::{held_batch, small},
    trial::Trial,
};

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + 'a>>;

/// As many calls as may run, each of which gets its batch when fewer than `in_hand` others hold theirs.
fn calls<'a>(trial: &Trial<'_>, sink: &'a dyn Sink, parts: &'a [Vec<Vec<u8>>]) -> Vec<Option<Call<'a>>> {
    let hands = Arc::new(Semaphore::new(trial.sink.limits().in_hand));
    let call = |bodies: &'a Vec<Vec<u8>>| {
        let hands = hands.clone();
        let call: Call<'a> = Box::pin(async move {
            let permit = hands.acquire_owned().await.ok();
            sink.deliver(held_batch(bodies, permit.map(|permit| Box::new(permit) as _))).await
        });
        Some(call)
    };
    parts.iter().map(call).collect()
}

/// Polls all in turn, in one task, so that each must get on while the others wait; adds their answers.
async fn together(trial: &Trial<'_>, calls: &mut [Option<Call<'_>>], answers: &mut Vec<Result<(), SinkError>>) {
    let all = poll_fn(|context| {
        for call in calls.iter_mut() {
            if let Some(running) = call
                && let Poll::Ready(answer) = running.as_mut().poll(context)
            {
                answers.push(answer);
                *call = None;
            }
        }
        if calls.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    });
    let done = tokio::time::timeout(trial.sink.limits().deadline, all).await;
    assert!(done.is_ok(), "{}: some calls have no answer within the deadline", trial.name);
}

fn parts(trial: &Trial<'_>, label: &str) -> Vec<Vec<Vec<u8>>> {
    let count = trial.sink.limits().in_flight.min(16);
    (0..count).map(|n| small(&format!("{label} {n}"), trial.at_most(20))).collect()
}

pub async fn at_once(to: &dyn Destination) -> bool {
    let trial = Trial::new("calls at once", to);
    let sink = trial.open().await;
    let parts = parts(&trial, "at once");
    let mut answers = Vec::new();
    together(&trial, &mut calls(&trial, sink.as_ref(), &parts), &mut answers).await;
    for answer in answers {
        answer.unwrap_or_else(|error| panic!("calls at once: {error}"));
    }
    let sent = parts.concat();
    trial.at_least(&sent).await;
    assert_eq!(to.received().len(), sent.len(), "calls at once: something came twice");
    true
}

/// A call is given up while others wait: they must not hang on it.
pub async fn abandoned_beside_others(to: &dyn Destination) -> bool {
    let trial = Trial::new("abandoned beside others", to);
    if trial.sink.limits().in_flight == 1 {
        return false;
    }
    for victim in 0..trial.sink.limits().in_flight.min(4) {
        let mut parts = parts(&trial, &format!("beside {victim}"));
        to.arrange(State::Slow);
        let sink = trial.open().await;
        let mut calls = calls(&trial, sink.as_ref(), &parts);
        let mut answers = Vec::new();
        let begun = together(&trial, &mut calls, &mut answers);
        let _ = tokio::time::timeout(Duration::from_millis(100), begun).await;
        calls[victim] = None;
        together(&trial, &mut calls, &mut answers).await;
        let refused = answers.iter().find(|answer| matches!(answer, Err(SinkError::Refused { .. })));
        assert!(refused.is_none(), "abandoned beside others: the messages are blamed: {refused:?}");
        drop(calls);
        drop(sink);
        to.arrange(State::Fine);
        parts.remove(victim);
        // an honest failure is allowed: then the agent sends again
        if answers.iter().all(Result::is_ok) {
            for body in parts.concat() {
                assert!(trial.arrived(&body).await, "abandoned beside others: `Ok`, and it is not there");
            }
        }
    }
    true
}

pub async fn cancelled(to: &dyn Destination) -> bool {
    let trial = Trial::new("cancelled, then reopened", to);
    let mut sent = Vec::new();
    // abandoned at the first await, at the second, …: as often as it has some
    for polls in 1..8 {
        let mut bodies = small(&format!("cancelled {polls}"), trial.at_most(500));
        let extra = bodies.pop().unwrap_or_default();
        trial.abandon(&bodies, polls).await;
        let sink = trial.open().await;
        bodies.push(extra.clone());
        trial.deliver(sink.as_ref(), &bodies).await;
        sent.extend(bodies);
        trial.at_least(&sent).await;
        assert_eq!(trial.times(&extra), 1, "cancelled, then reopened: what was sent once is there several times");
    }
    true
}

pub async fn unwritable(to: &dyn Destination) -> bool {
    if !to.arrange(State::Unwritable) {
        return false;
    }
    let trial = Trial::new("unwritable, then fine", to);
    let bodies = small("unwritable", trial.at_most(10));
    for _ in 0..3 {
        match trial.try_anew(&bodies).await {
            Err(SinkError::Retry { .. } | SinkError::Blocked { .. }) => {}
            Err(error) => panic!("unwritable, then fine: the messages are blamed for it: {error}"),
            Ok(()) => panic!("unwritable, then fine: `Ok` though nothing can have arrived"),
        }
    }
    trial.must_arrange(State::Fine);
    let sink = trial.open().await;
    trial.deliver(sink.as_ref(), &bodies).await;
    trial.exactly(&bodies).await;
    true
}

/// The peer ends the connection. A sink whose `Ok` can still be disproved must say so without being asked to deliver.
pub async fn hung_up(to: &dyn Destination) -> bool {
    let trial = Trial::new("hung up", to);
    let sink = trial.open().await;
    let first = small("hung up", trial.at_most(5));
    trial.deliver(sink.as_ref(), &first).await;
    trial.exactly(&first).await;
    if !to.hang_up() {
        let settles = !trial.sink.limits().settle.is_zero();
        assert!(!settles, "hung up: `Ok` of this sink can be disproved, so its destination must have this");
        return false;
    }
    let Some(lost) = trial.loss(sink.as_ref()).await else {
        panic!("hung up: the sink does not notice that its peer is gone");
    };
    assert!(lost.orderly, "hung up: the sink takes an orderly end, with everything read, for a broken connection");
    // a call that comes all the same must not claim what nobody reads any more
    let second = small("after", trial.at_most(5));
    let answer = trial.call(sink.as_ref(), &second).await;
    assert!(answer.is_err(), "hung up: `Ok` on a connection that is known to be gone");
    drop(sink);
    let sink = trial.open().await;
    trial.deliver(sink.as_ref(), &second).await;
    trial.exactly(&[first, second].concat()).await;
    true
}

pub async fn torn(to: &dyn Destination) -> bool {
    let trial = Trial::new("torn end", to);
    let sink = trial.open().await;
    let first = small("before", trial.at_most(5));
    trial.deliver(sink.as_ref(), &first).await;
    trial.exactly(&first).await;
    drop(sink);
    if !to.arrange(State::Torn) {
        return false;
    }
    let sink = trial.open().await;
    let (mut found, mut expected) = (to.received(), first.clone());
    if !to.in_order() {
        found.sort();
        expected.sort();
    }
    assert!(found == expected, "torn end: it is still there after opening, or more is gone");
    let second = small("after", trial.at_most(5));
    trial.deliver(sink.as_ref(), &second).await;
    trial.exactly(&[first, second].concat()).await;
    true
}

//! The destination says no: to a message, to a batch, to the agent.

use auditferry_contract::SinkError;

use super::driver::drive;
use crate::{Destination, MOST, POISON, State, messages::small, trial::Trial};

/// `count` bodies, of which those at `poisoned` hold what the destination refuses.
fn bodies(label: &str, count: usize, poisoned: &[usize]) -> Vec<Vec<u8>> {
    let mut bodies = small(label, count);
    for at in poisoned {
        bodies[*at] = format!("{{\"case\":\"{label}\",\"n\":{at},\"text\":\"{POISON}\"}}").into_bytes();
    }
    bodies
}

pub async fn line_break(to: &dyn Destination) -> bool {
    if !to.line_oriented() {
        return false;
    }
    let trial = Trial::new("line break", to);
    let sink = trial.open().await;
    let bodies = [&b"{\"n\":1}"[..], b"{\"n\":\n2}", b"{\"n\":3}\r", b"{\"n\":4}"].map(<[u8]>::to_vec);
    match trial.call(sink.as_ref(), &bodies).await {
        Err(SinkError::Refused { refused, untaken, .. }) => {
            let positions: Vec<_> = refused.iter().map(|r| r.position).collect();
            assert_eq!(positions, [1, 2], "line break: others are refused");
            let taken: Vec<_> =
                [0, 3].into_iter().filter(|i| !untaken.contains(i)).map(|i| bodies[i].clone()).collect();
            trial.exactly(&taken).await;
        }
        other => panic!("line break: expected a refusal, got {other:?}"),
    }
    true
}

pub async fn poison(to: &dyn Destination) -> bool {
    if !to.arrange(State::RefusesPoison) {
        return false;
    }
    let trial = Trial::new("poison", to);
    let count = trial.at_most(12);
    let places: [&[usize]; 6] = [&[], &[count / 2], &[0], &[count - 1], &[0, count / 2, count - 1], &[1, 2, 3]];
    for (round, places) in places.into_iter().enumerate() {
        let places: Vec<_> = places.iter().map(|at| *at % count).collect();
        check_outcome(&trial, &bodies(&format!("poison {round}"), count, &places)).await;
    }
    // alone there is nothing left to halve: it must be named, or be the only one that can be meant
    let alone = bodies("poison alone", 1, &[0]);
    match trial.try_anew(&alone).await {
        Err(SinkError::Refused { .. }) => {}
        other => panic!("poison: alone it is not refused: {other:?}"),
    }
    assert_eq!(trial.times(&alone[0]), 0, "poison: it was refused, and is there");
    true
}

async fn check_outcome(trial: &Trial<'_>, bodies: &[Vec<u8>]) {
    let poisoned = |i: &usize| String::from_utf8_lossy(&bodies[*i]).contains(POISON);
    let culprits = (0..bodies.len()).filter(poisoned).count();
    // halving takes two calls a level for each culprit
    let levels = bodies.len().next_power_of_two().trailing_zeros() as usize + 1;
    let outcome = drive(trial, bodies, 2 + culprits * 2 * levels).await;
    if let Some(innocent) = outcome.refused.iter().find(|i| !poisoned(i)) {
        panic!("poison: message {innocent} is refused for another: {outcome:?}");
    }
    if let Some(culprit) = outcome.taken.iter().find(|i| poisoned(i)) {
        panic!("poison: message {culprit} is said to be taken: {outcome:?}");
    }
    let expected: Vec<_> = outcome.taken.iter().map(|i| bodies[*i].clone()).collect();
    assert_eq!(expected.len() + culprits, bodies.len(), "poison: a message is neither taken nor refused");
    for (i, body) in bodies.iter().enumerate() {
        let poisoned = poisoned(&i);
        match arrivals(trial, body, usize::from(!poisoned)).await {
            0 => assert!(poisoned, "poison: message {i} is said to be taken, and is not there"),
            _ if poisoned => panic!("poison: message {i} was refused, and is there"),
            1 => {}
            n => assert!(outcome.unclear.contains(&i), "poison: message {i} came {n} times, though it was taken once"),
        }
    }
}

/// How often the body arrived; waits for as many as `expected` where the destination says nothing.
async fn arrivals(trial: &Trial<'_>, body: &[u8], expected: usize) -> usize {
    trial.received(|received| received.iter().filter(|b| b.as_slice() == body).count() >= expected).await;
    trial.times(body)
}

pub async fn too_large(to: &dyn Destination) -> bool {
    let trial = Trial::new("batch too large", to);
    if trial.at_most(MOST + 1) <= MOST || !to.arrange(State::BatchTooLarge) {
        return false;
    }
    let bodies = small("batch too large", trial.at_most(4 * MOST));
    let outcome = drive(&trial, &bodies, 2 * bodies.len()).await;
    assert!(outcome.refused.is_empty(), "batch too large: single messages are refused: {outcome:?}");
    assert!(outcome.calls > 1, "batch too large: the destination took it in one: the case tries nothing");
    trial.at_least(&bodies).await;
    true
}

pub async fn unauthorised(to: &dyn Destination) -> bool {
    if !to.arrange(State::Unauthorised) {
        return false;
    }
    let trial = Trial::new("unauthorised", to);
    let bodies = small("unauthorised", trial.at_most(10));
    for _ in 0..3 {
        blocked(&trial, trial.try_anew(&bodies).await);
    }
    trial.must_arrange(State::Fine);
    let sink = trial.open().await;
    trial.deliver(sink.as_ref(), &bodies).await;
    trial.exactly(&bodies).await;

    // it expires while the sink is open; a destination that asks at the door only takes what comes through an open one
    trial.must_arrange(State::Unauthorised);
    let more = small("expired", trial.at_most(10));
    let answer = trial.call(sink.as_ref(), &more).await;
    drop(sink);
    trial.must_arrange(State::Fine);
    if answer.is_ok() {
        trial.exactly(&[bodies, more].concat()).await;
        return true;
    }
    blocked(&trial, answer);
    let sink = trial.open().await;
    trial.deliver(sink.as_ref(), &more).await;
    trial.exactly(&[bodies, more].concat()).await;
    true
}

fn blocked(trial: &Trial<'_>, answer: Result<(), SinkError>) {
    match answer {
        Err(SinkError::Blocked { .. }) => {}
        Err(SinkError::Refused { .. }) => panic!("{}: the messages are blamed for it", trial.name),
        Err(SinkError::Retry { cause, .. }) => panic!("{}: nobody is told to act: {cause}", trial.name),
        Ok(()) => panic!("{}: `Ok` though the destination lets nobody in", trial.name),
    }
}

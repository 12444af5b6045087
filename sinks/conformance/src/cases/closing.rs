//! A clean stop: what it settles, and what not.

use std::time::Duration;

use crate::{Destination, State, messages::small, trial::Trial};

/// Everything was read: a sink whose `Ok` has to settle must say that it has.
pub async fn read(to: &dyn Destination) -> bool {
    let trial = Trial::new("closed, all read", to);
    let sink = trial.open().await;
    let bodies = small("closed, all read", trial.at_most(50));
    trial.deliver(sink.as_ref(), &bodies).await;
    // the agent waits 5 s for it
    let closed = tokio::time::timeout(Duration::from_secs(5), sink.close()).await;
    let Ok(closed) = closed else { panic!("closed, all read: closing takes longer than 5 s") };
    if !trial.sink.limits().settle.is_zero() {
        closed.unwrap_or_else(|cause| panic!("closed, all read: what was read is not settled: {cause}"));
    }
    trial.exactly(&bodies).await;
    true
}

/// What nobody has read must not be settled, neither by a peer that hangs nor by one that breaks off.
pub async fn unread(to: &dyn Destination) -> bool {
    let trial = Trial::new("closed, unread", to);
    if trial.sink.limits().settle.is_zero() {
        // `Ok` was final
        return true;
    }
    for (round, breaks) in [false, true].into_iter().enumerate() {
        trial.must_arrange(State::Fine);
        let sink = trial.open().await;
        let first = small(&format!("closed, read {round}"), 1);
        trial.deliver(sink.as_ref(), &first).await;
        assert!(trial.arrived(&first[0]).await, "closed, unread: `Ok`, and it does not arrive");
        trial.must_arrange(State::Hangs);
        let second = small(&format!("closed, unread {round}"), trial.at_most(5));
        if trial.call(sink.as_ref(), &second).await.is_err() {
            continue;
        }
        if breaks {
            trial.must_arrange(State::Breaks);
        }
        let closed = tokio::time::timeout(Duration::from_secs(6), sink.close()).await;
        let read = to.received().contains(&second[0]);
        let how = if breaks { "broken off" } else { "hangs" };
        assert!(
            read || !matches!(closed, Ok(Ok(()))),
            "closed, unread: the peer {how}, and what it has not read is settled"
        );
    }
    trial.must_arrange(State::Fine);
    true
}

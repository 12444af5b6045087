//! The cases.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use auditferry_contract::{CheckedSink, Format, Options, Sink, SinkError, toml_span};

use crate::{
    Destination, SECRET, State, TestEnv, batch,
    messages::{all_of_unicode, cut, small},
    watched_batch,
};

type Running<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

/// One promise of the contract, and how it is tried. `run` gives false when the destination has no such situation.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(&dyn Destination) -> Running<'_>,
}

/// All cases.
pub const CASES: [Case; 12] = [
    Case { name: "sample", run: |d| Box::pin(sample(d)) },
    Case { name: "limits", run: |d| Box::pin(limits(d)) },
    Case { name: "all taken", run: |d| Box::pin(all_taken(d)) },
    Case { name: "empty batch", run: |d| Box::pin(empty(d)) },
    Case { name: "all of unicode", run: |d| Box::pin(unicode(d)) },
    Case { name: "largest message", run: |d| Box::pin(largest(d)) },
    Case { name: "calls at once", run: |d| Box::pin(at_once(d)) },
    Case { name: "cancelled, then reopened", run: |d| Box::pin(cancelled(d)) },
    Case { name: "unwritable, then fine", run: |d| Box::pin(unwritable(d)) },
    Case { name: "one attempt per call", run: |d| Box::pin(one_attempt(d)) },
    Case { name: "line break", run: |d| Box::pin(line_break(d)) },
    Case { name: "torn end", run: |d| Box::pin(torn(d)) },
];

fn format() -> Format {
    Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" }
}

fn checked(destination: &dyn Destination, options: &str) -> Result<Box<dyn CheckedSink>, String> {
    let mut value = toml_span::parse(options).map_err(|error| error.to_string())?;
    let table = Options::new(&mut value).map_err(|error| error.to_string())?;
    (destination.kind().check)(table, &format()).map_err(|error| error.to_string())
}

fn good(destination: &dyn Destination) -> Box<dyn CheckedSink> {
    checked(destination, &destination.options()).unwrap_or_else(|error| panic!("good options are refused: {error}"))
}

/// Opens the sink; something that passes may be in the way for a while (an abandoned call that still holds the file).
#[expect(clippy::disallowed_methods, reason = "a test waits for real time here; there is no event to wait for")]
async fn open(destination: &dyn Destination) -> Arc<dyn Sink> {
    let checked = good(destination);
    let mut last = None;
    for _ in 0..2000 {
        match checked.open(Arc::new(TestEnv::default())).await {
            Ok(sink) => return sink,
            Err(error @ SinkError::Retry { .. }) => last = Some(error),
            Err(error) => panic!("open: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("open: not possible within 10 s: {last:?}")
}

/// An error must say something, in a manner that can be shown, and no secret.
fn decent(case: &str, error: &SinkError) {
    let cause = &error.cause().0;
    assert!(cause.len() > 10, "{case}: the cause says nothing: {cause:?}");
    assert!(!cause.contains(['\n', '\r']), "{case}: the cause has several lines: {cause:?}");
    assert!(!cause.contains(SECRET), "{case}: the cause holds a secret");
}

async fn sample(destination: &dyn Destination) -> bool {
    let kind = destination.kind();
    let mut root = toml_span::parse(kind.sample).unwrap_or_else(|error| panic!("sample: not TOML: {error}"));
    let Some(table) = root.pointer_mut("/sink/0") else { panic!("sample: no [[sink]]") };
    let mut table = Options::new(table).unwrap_or_else(|error| panic!("sample: {error}"));
    assert_eq!(table.optional::<String>("kind").as_deref(), Some(kind.name), "sample: another kind");
    for key in ["name", "codec", "raw_data", "start", "sources", "filter", "batch"] {
        let _ = table.take(key);
    }
    if let Err(errors) = (kind.check)(table, &format()) {
        panic!("sample: refused: {errors}");
    }
    let unknown = checked(destination, &format!("{}\nno_such_option = 1", destination.options()));
    assert!(unknown.is_err_and(|e| e.contains("no_such_option")), "sample: an unknown option is taken");
    true
}

async fn limits(destination: &dyn Destination) -> bool {
    let limits = good(destination).limits();
    assert!(limits.message_bytes >= 1024, "limits: {limits:?}");
    assert!(limits.batch_bytes >= 1024 && limits.batch_messages >= 1, "limits: {limits:?}");
    assert!(limits.in_flight >= 1 && (1..=limits.in_flight).contains(&limits.in_hand), "limits: {limits:?}");
    assert!(limits.deadline >= Duration::from_secs(1), "limits: {limits:?}");
    true
}

async fn all_taken(destination: &dyn Destination) -> bool {
    let most = good(destination).limits().batch_messages;
    let sink = open(destination).await;
    let mut sent = Vec::new();
    for round in 0..60 {
        let bodies = small(&format!("all taken {round}"), (1 + round * 7 % 50).min(most));
        let (batch, dropped) = watched_batch(&bodies);
        sink.deliver(batch).await.unwrap_or_else(|error| panic!("all taken: {error}"));
        assert!(dropped.load(Ordering::SeqCst), "all taken: the batch is still held after `Ok`");
        sent.extend(bodies);
        // after `Ok`, not some time later
        assert_eq!(destination.received().len(), sent.len(), "all taken: `Ok` before everything was there");
    }
    sink.close().await;
    assert!(destination.received() == sent, "all taken: something else arrived than was sent");
    true
}

async fn empty(destination: &dyn Destination) -> bool {
    let sink = open(destination).await;
    sink.deliver(batch(&[])).await.unwrap_or_else(|error| panic!("empty batch: {error}"));
    assert!(destination.received().is_empty(), "empty batch: something arrived");
    true
}

async fn unicode(destination: &dyn Destination) -> bool {
    let sink = open(destination).await;
    let limits = good(destination).limits();
    let bodies = all_of_unicode(limits.message_bytes);
    for part in cut(&bodies, &limits) {
        sink.deliver(batch(part)).await.unwrap_or_else(|error| panic!("all of unicode: {error}"));
    }
    assert!(destination.received() == bodies, "all of unicode: something else arrived than was sent");
    true
}

async fn largest(destination: &dyn Destination) -> bool {
    let sink = open(destination).await;
    let bodies = vec![vec![b'x'; good(destination).limits().message_bytes]];
    sink.deliver(batch(&bodies)).await.unwrap_or_else(|error| panic!("largest message: {error}"));
    assert!(destination.received() == bodies, "largest message: it did not arrive whole");
    true
}

async fn at_once(destination: &dyn Destination) -> bool {
    let limits = good(destination).limits();
    let sink = open(destination).await;
    let parts: Vec<_> = (0..limits.in_hand.min(8)).map(|n| small(&format!("at once {n}"), 20)).collect();
    let mut calls: Vec<_> = parts.iter().map(|bodies| Some(sink.deliver(batch(bodies)))).collect();
    // polled in turn, in one task: each must get on while the others wait
    poll_fn(|context| {
        for call in &mut calls {
            if let Some(running) = call
                && let Poll::Ready(answer) = running.as_mut().poll(context)
            {
                answer.unwrap_or_else(|error| panic!("calls at once: {error}"));
                *call = None;
            }
        }
        if calls.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let (mut sent, mut received) = (parts.concat(), destination.received());
    sent.sort();
    received.sort();
    assert!(received == sent, "calls at once: something else arrived than was sent");
    true
}

async fn cancelled(destination: &dyn Destination) -> bool {
    let bodies = small("cancelled", 500.min(good(destination).limits().batch_messages));
    // abandoned at the first await, at the second, …: as often as it has some
    for polls in 1..6 {
        let sink = open(destination).await;
        let mut call = sink.deliver(batch(&bodies));
        for _ in 0..polls {
            let ready = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
            if ready {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        drop(sink);
        let sink = open(destination).await;
        sink.deliver(batch(&bodies)).await.unwrap_or_else(|error| panic!("cancelled, then reopened: {error}"));
        let received = destination.received();
        assert!(received.iter().all(|body| bodies.contains(body)), "cancelled: something arrived that was never sent");
        assert!(received.ends_with(&bodies), "cancelled: what was sent again is not there");
    }
    true
}

async fn unwritable(destination: &dyn Destination) -> bool {
    if !destination.arrange(State::Unwritable) {
        return false;
    }
    let bodies = small("unwritable", 10);
    for _ in 0..3 {
        let tried = match good(destination).open(Arc::new(TestEnv::default())).await {
            Ok(sink) => sink.deliver(batch(&bodies)).await,
            Err(error) => Err(error),
        };
        match tried {
            Err(error @ (SinkError::Retry { .. } | SinkError::Blocked { .. })) => decent("unwritable", &error),
            Err(error) => panic!("unwritable: the messages are blamed for it: {error}"),
            Ok(()) => panic!("unwritable: `Ok` though nothing can have arrived"),
        }
    }
    assert!(destination.arrange(State::Fine));
    let sink = open(destination).await;
    sink.deliver(batch(&bodies)).await.unwrap_or_else(|error| panic!("unwritable, then fine: {error}"));
    assert!(destination.received() == bodies, "unwritable, then fine: something else arrived than was sent");
    true
}

async fn one_attempt(destination: &dyn Destination) -> bool {
    if destination.attempts().is_none() || !destination.arrange(State::Unwritable) {
        return false;
    }
    for round in 1..4 {
        if let Ok(sink) = good(destination).open(Arc::new(TestEnv::default())).await {
            let _ = sink.deliver(batch(&small("one attempt", 3))).await;
        }
        assert!(
            destination.attempts() <= Some(round),
            "one attempt per call: {:?} after {round}",
            destination.attempts()
        );
    }
    true
}

async fn line_break(destination: &dyn Destination) -> bool {
    if !destination.line_oriented() {
        return false;
    }
    let sink = open(destination).await;
    let bodies = vec![b"one".to_vec(), b"two\nthree".to_vec(), b"four\r".to_vec(), b"five".to_vec()];
    match sink.deliver(batch(&bodies)).await {
        Err(error @ SinkError::Refused { .. }) => {
            decent("line break", &error);
            let SinkError::Refused { refused, untaken, .. } = error else { return true };
            let positions: Vec<_> = refused.iter().map(|r| r.position).collect();
            assert_eq!(positions, [1, 2], "line break: others are refused");
            let taken: Vec<_> =
                [0, 3].into_iter().filter(|i| !untaken.contains(i)).map(|i| bodies[i].clone()).collect();
            assert!(destination.received() == taken, "line break: what is not untaken did not arrive");
        }
        other => panic!("line break: expected a refusal, got {other:?}"),
    }
    true
}

async fn torn(destination: &dyn Destination) -> bool {
    let sink = open(destination).await;
    let first = small("before", 5);
    sink.deliver(batch(&first)).await.unwrap_or_else(|error| panic!("torn end: {error}"));
    drop(sink);
    if !destination.arrange(State::Torn) {
        return false;
    }
    let sink = open(destination).await;
    assert!(destination.received() == first, "torn end: it is still there after opening, or more is gone");
    let second = small("after", 5);
    sink.deliver(batch(&second)).await.unwrap_or_else(|error| panic!("torn end: {error}"));
    assert!(destination.received() == [first, second].concat(), "torn end: something else is there than was sent");
    true
}

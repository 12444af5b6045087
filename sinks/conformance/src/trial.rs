//! What every case needs: open, one watched call, and a look at what arrived.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use auditferry_contract::{CheckedSink, Format, Lost, Options, Sink, SinkError, toml_span};

use crate::{Destination, POISON, SECRET, State, TestEnv, batch, messages::watched_batch};

/// The format that the suite hands to `check`.
pub fn format() -> Format {
    Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" }
}

/// What `check` says to these options; the errors in words.
pub fn checked(destination: &dyn Destination, options: &str) -> Result<Box<dyn CheckedSink>, String> {
    let mut value = toml_span::parse(options).map_err(|error| error.to_string())?;
    let table = Options::new(&mut value).map_err(|error| error.to_string())?;
    (destination.kind().check)(table, &format()).map_err(|error| error.to_string())
}

/// Waits; bounded by whoever calls it.
#[expect(clippy::disallowed_methods, reason = "a test waits for real time here; there is no event to wait for")]
async fn moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// How often [`moment`] is repeated before something is given up: 10 s.
const PATIENCE: usize = 2000;

/// One case against one destination.
pub struct Trial<'a> {
    /// The case's name: every panic begins with it.
    pub name: &'static str,
    /// The destination.
    pub to: &'a dyn Destination,
    /// The sink with its options checked.
    pub sink: Box<dyn CheckedSink>,
}

impl<'a> Trial<'a> {
    /// Checks the destination's options.
    pub fn new(name: &'static str, to: &'a dyn Destination) -> Self {
        let sink =
            checked(to, &to.options()).unwrap_or_else(|error| panic!("{name}: good options are refused: {error}"));
        Trial { name, to, sink }
    }

    /// `count`, or as many messages as one batch may have.
    pub fn at_most(&self, count: usize) -> usize {
        count.min(self.sink.limits().batch_messages)
    }

    /// Puts the destination into a state that it must have, having had the opposite one.
    pub fn must_arrange(&self, state: State) {
        assert!(self.to.arrange(state), "{}: the destination can't be made {state:?} again", self.name);
    }

    /// One try to open.
    pub async fn try_open(&self) -> Result<Arc<dyn Sink>, SinkError> {
        let opening = tokio::time::timeout(self.sink.limits().deadline, self.sink.open(Arc::new(TestEnv::default())));
        let opened = opening.await.unwrap_or_else(|_| panic!("{}: opening took longer than the deadline", self.name));
        if let Err(error) = &opened {
            self.decent(error, 0);
        }
        opened
    }

    /// Opens the sink; something that passes may be in the way for a while (an abandoned call that still holds the file).
    pub async fn open(&self) -> Arc<dyn Sink> {
        let mut last = None;
        for _ in 0..PATIENCE {
            match self.try_open().await {
                Ok(sink) => return sink,
                Err(error @ SinkError::Retry { .. }) => last = Some(error),
                Err(error) => panic!("{}: open: {error}", self.name),
            }
            moment().await;
        }
        panic!("{}: open: not possible within 10 s: {last:?}", self.name)
    }

    /// One call, as the agent makes it: within the deadline, `lost` polled beside it. Whatever comes of it, the batch must be
    /// dropped by then, and an error must be one that the agent can work with.
    pub async fn call(&self, sink: &dyn Sink, bodies: &[Vec<u8>]) -> Result<(), SinkError> {
        let (batch, dropped) = watched_batch(bodies);
        let mut call = sink.deliver(batch);
        let mut lost = Some(sink.lost());
        let beside = poll_fn(|context| {
            if lost.as_mut().is_some_and(|lost| lost.as_mut().poll(context).is_ready()) {
                lost = None;
            }
            call.as_mut().poll(context)
        });
        let answer = tokio::time::timeout(self.sink.limits().deadline, beside)
            .await
            .unwrap_or_else(|_| panic!("{}: no answer within the deadline", self.name));
        assert!(dropped.load(Ordering::SeqCst), "{}: the batch is still held after the answer", self.name);
        if let Err(error) = &answer {
            self.decent(error, bodies.len());
        }
        answer
    }

    /// A call that must succeed.
    pub async fn deliver(&self, sink: &dyn Sink, bodies: &[Vec<u8>]) {
        self.call(sink, bodies).await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Opens and calls once, as the agent does after a failure.
    pub async fn try_anew(&self, bodies: &[Vec<u8>]) -> Result<(), SinkError> {
        let sink = self.try_open().await?;
        self.call(sink.as_ref(), bodies).await
    }

    /// A call that is given up after `polls` polls, and its sink dropped.
    pub async fn abandon(&self, bodies: &[Vec<u8>], polls: usize) {
        let sink = self.open().await;
        let mut call = sink.deliver(batch(bodies));
        for _ in 0..polls {
            if poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// What the sink says of the end of its connection, within 10 s.
    pub async fn loss(&self, sink: &dyn Sink) -> Option<Lost> {
        let lost = tokio::time::timeout(Duration::from_secs(10), sink.lost()).await.ok()?;
        self.decent(&SinkError::Retry { untaken: vec![], after: None, cause: lost.cause.clone() }, 0);
        Some(lost)
    }

    /// True when the sink says right now that its connection is gone.
    pub async fn is_lost(&self, sink: &dyn Sink) -> bool {
        let mut lost = pin!(sink.lost());
        poll_fn(|context| Poll::Ready(lost.as_mut().poll(context).is_ready())).await
    }

    /// An error must say something, in a manner that can be shown, without secret and content; its positions must be in the batch.
    fn decent(&self, error: &SinkError, messages: usize) {
        let name = self.name;
        let (refused, untaken) = match error {
            SinkError::Refused { refused, untaken, .. } => (refused.as_slice(), untaken.as_slice()),
            SinkError::Retry { untaken, .. } => (&[][..], untaken.as_slice()),
            SinkError::Blocked { .. } => (&[][..], &[][..]),
        };
        for cause in refused.iter().map(|refusal| &refusal.cause).chain([error.cause()]) {
            let cause = &cause.0;
            assert!(cause.len() > 10, "{name}: the cause says nothing: {cause:?}");
            assert!(!cause.contains(['\n', '\r']), "{name}: the cause has several lines: {cause:?}");
            assert!(!cause.contains(SECRET), "{name}: the cause holds a secret");
            assert!(!cause.contains(POISON), "{name}: the cause holds what a message says");
        }
        let mut positions: Vec<_> = refused.iter().map(|refusal| refusal.position).chain(untaken.to_vec()).collect();
        positions.sort();
        let named = positions.len();
        positions.dedup();
        assert!(positions.len() == named, "{name}: a position is named twice");
        assert!(positions.last().is_none_or(|last| *last < messages), "{name}: a position outside the batch");
    }

    /// What has arrived; where the destination gives no answers, waits until it is `enough` or 10 s are over.
    pub async fn received(&self, enough: impl Fn(&[Vec<u8>]) -> bool) -> Vec<Vec<u8>> {
        for _ in 0..PATIENCE {
            let received = self.to.received();
            if self.to.confirms() || enough(&received) {
                return received;
            }
            moment().await;
        }
        self.to.received()
    }

    /// Everything sent has arrived, and nothing else.
    pub async fn exactly(&self, sent: &[Vec<u8>]) {
        let mut received = self.received(|received| received.len() >= sent.len()).await;
        let mut sent = sent.to_vec();
        assert!(received.len() >= sent.len(), "{}: `Ok` before everything was there", self.name);
        if !self.to.in_order() {
            received.sort();
            sent.sort();
        }
        assert!(received == sent, "{}: something else arrived than was sent", self.name);
    }

    /// Everything in `sent` has arrived, some perhaps several times, and nothing else.
    pub async fn at_least(&self, sent: &[Vec<u8>]) {
        let received = self.received(|received| sent.iter().all(|body| received.contains(body))).await;
        let stranger = received.iter().any(|body| !sent.contains(body));
        assert!(!stranger, "{}: something arrived that was never sent", self.name);
        let missing = sent.iter().filter(|body| !received.contains(body)).count();
        assert!(missing == 0, "{}: {missing} of {} are not there after `Ok`", self.name, sent.len());
    }

    /// True when this body has arrived; waits for it where the destination says nothing.
    pub async fn arrived(&self, body: &[u8]) -> bool {
        let there = |received: &[Vec<u8>]| received.iter().any(|received| received.as_slice() == body);
        there(&self.received(there).await)
    }

    /// How often this body has arrived.
    pub fn times(&self, body: &[u8]) -> usize {
        self.to.received().iter().filter(|received| received.as_slice() == body).count()
    }
}

//! One call: write the body, send it, read the answer, let the batch go, wait for the acknowledgement where there is one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use auditferry_contract::{Batch, Cause, Confirmation, Sink, SinkError};
use bytes::Bytes;

use crate::{
    ack::Acks,
    answer::Class,
    config::{Ack, Checked},
    envelope::Envelope,
    wire::Wire,
};

/// A collector that is open.
pub struct HecSink {
    wire: Arc<Wire>,
    envelope: Envelope,
    ack: Ack,
    acks: Arc<Acks>,
    /// The token acknowledges, as far as the collector has told.
    acknowledges: AtomicBool,
}

impl HecSink {
    /// Asks the collector whether it takes the token, and whether the token acknowledges. That also fetches the cookie by which
    /// a load balancer keeps a client at one indexer, before the first batch goes out.
    pub async fn open(options: &Checked, wire: Wire) -> Result<Self, SinkError> {
        let wire = Arc::new(wire);
        let acknowledges = match options.ack {
            Ack::Off => {
                reachable(&wire).await?;
                false
            }
            Ack::Auto | Ack::Required => acknowledges(&wire, options.ack).await?,
        };
        let asked = wire.clone();
        let ask = Box::new(move |numbers: Vec<u64>| {
            let wire = asked.clone();
            Box::pin(async move { wire.indexed(&numbers).await }) as _
        });
        Ok(HecSink {
            wire,
            envelope: options.envelope.clone(),
            ack: options.ack,
            acks: Acks::new(options.ack_interval, ask),
            acknowledges: AtomicBool::new(acknowledges),
        })
    }
}

/// A post without events: Splunk looks at the token first, and says then that there is no data.
async fn reachable(wire: &Wire) -> Result<(), SinkError> {
    let answer = wire.events(Bytes::new()).await?;
    let no_data = answer.status == 400 && answer.said().is_some_and(|said| said.code == Some(5));
    match answer.class() {
        Class::Retry if no_data || answer.status < 500 && !matches!(answer.status, 408 | 425 | 429) => Ok(()),
        Class::Blocked | Class::Retry => Err(answer.error(0, &wire.place())),
        // what it does with an empty body is its business
        Class::Taken | Class::Culprit | Class::TooLarge => Ok(()),
    }
}

/// A question for a number that was never given out: `false` where the token acknowledges, code 14 where it does not.
async fn acknowledges(wire: &Wire, ack: Ack) -> Result<bool, SinkError> {
    let answer = wire.question(&[0]).await?;
    let code = answer.said().and_then(|said| said.code);
    let words = answer.words(&wire.place());
    match (answer.status, code) {
        (200, _) if answer.indexed().is_some() => Ok(true),
        (400, Some(14)) | (404 | 405, _) if ack == Ack::Required => Err(SinkError::blocked(Cause::coded(
            "HecAck",
            format_args!(
                "{}: the token does not acknowledge, and `ack = \"required\"`: switch indexer acknowledgement on for it",
                wire.place()
            ),
        ))),
        // 404 and 405: a receiver that is not Splunk and knows no acknowledgement
        (400, Some(14)) | (404 | 405, _) => Ok(false),
        (408 | 425 | 429 | 500.., _) => {
            Err(SinkError::Retry { untaken: Vec::new(), after: answer.after, cause: words })
        }
        _ if answer.class() == Class::Blocked => Err(SinkError::Blocked { cause: words }),
        // not known: the answers to the events will tell; until then no more is promised than they are worth
        _ => Ok(false),
    }
}

#[async_trait]
impl Sink for HecSink {
    fn confirmation(&self) -> Confirmation {
        match self.ack {
            Ack::Off => Confirmation::Accepted,
            // without an acknowledgement there is no `Ok`
            Ack::Required => Confirmation::Stored,
            Ack::Auto if self.acknowledges.load(Ordering::Relaxed) => Confirmation::Stored,
            Ack::Auto => Confirmation::Accepted,
        }
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let count = batch.len();
        let body = self.envelope.body(&batch)?;
        let known = self.acks.highest();
        let answer = self.wire.events(body).await;
        // its bytes are sent: who waits for an acknowledgement holds nothing
        drop(batch);
        let answer = answer?;
        let place = self.wire.place();
        let number = match (answer.class(), answer.said()) {
            (Class::Taken, Some(said)) => said.ack,
            _ => return Err(answer.error(count, &place)),
        };
        match (self.ack, number) {
            (Ack::Off, _) => Ok(()),
            (Ack::Required, None) => Err(SinkError::blocked(Cause::coded(
                "HecAck",
                format_args!(
                    "{place} took the batch without an acknowledgement number, and `ack = \"required\"`: switch indexer \
                     acknowledgement on for the token"
                ),
            ))),
            (Ack::Auto, None) => {
                // switched off since the sink was opened; what `Ok` is worth is less from here on
                self.acknowledges.store(false, Ordering::Relaxed);
                Ok(())
            }
            (Ack::Auto | Ack::Required, Some(number)) => self.acks.register(number, known)?.indexed().await,
        }
    }
}

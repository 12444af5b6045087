//! What a sink's error means.

use std::time::Duration;

use auditferry_contract::SinkError;

/// What to do after a batch was not taken whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many messages from the front were taken.
    pub taken: usize,
    /// A person must act.
    pub blocked: bool,
    /// The earliest next try, when the destination named one.
    pub after: Option<Duration>,
    /// The sink's words.
    pub cause: String,
    /// For the metric.
    pub outcome: &'static str,
}

impl Verdict {
    pub(crate) fn of(error: SinkError, messages: usize) -> Verdict {
        match error {
            SinkError::Retry { untaken, after, cause } => {
                // empty means all; every message that is not named was taken
                let taken = untaken.iter().min().map_or(0, |first| (*first).min(messages));
                Verdict { taken, blocked: false, after, cause: cause.to_string(), outcome: "retry" }
            }
            SinkError::Refused { refused, untaken, cause } => {
                let first = refused.iter().map(|refusal| refusal.position).chain(untaken).min();
                Verdict {
                    taken: first.map_or(0, |first| first.min(messages)),
                    // without a quarantine nothing may be passed over: it waits for a person, loudly
                    blocked: true,
                    after: None,
                    cause: format!("a message was refused: {cause}"),
                    outcome: "refused",
                }
            }
            SinkError::Blocked { cause } => {
                Verdict { taken: 0, blocked: true, after: None, cause: cause.to_string(), outcome: "blocked" }
            }
        }
    }

    /// A record can't be made small enough for the sink. Until there is a quarantine it waits for a person.
    pub(crate) fn too_large(cause: String) -> Verdict {
        Verdict { taken: 0, blocked: true, after: None, cause, outcome: "refused" }
    }

    pub(crate) fn unanswered(self) -> Verdict {
        Verdict { outcome: "unanswered", ..self }
    }
}

#[cfg(test)]
mod tests {
    use auditferry_contract::{Cause, Refusal};

    use super::*;

    #[test]
    fn what_lies_before_the_first_untaken_message_was_taken() {
        let retry = |untaken| SinkError::Retry { untaken, after: None, cause: Cause("x".into()) };
        assert_eq!(Verdict::of(retry(vec![]), 5).taken, 0, "empty means all");
        assert_eq!(Verdict::of(retry(vec![4, 2]), 5).taken, 2);
        let refused = SinkError::Refused {
            refused: vec![Refusal { position: 3, cause: Cause("x".into()) }],
            untaken: vec![4],
            cause: Cause("x".into()),
        };
        let verdict = Verdict::of(refused, 5);
        assert_eq!((verdict.taken, verdict.blocked), (3, true));
    }
}

//! What a sink's answer means for each message of its batch.

use std::{sync::Arc, time::Duration};

use auditferry_contract::SinkError;

/// What becomes of one message of a batch that was not taken whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The sink has it.
    Taken,
    /// It goes out again, and is not to blame.
    Back,
    /// It goes out again; the sink tried to take it.
    Again,
    /// It goes out again in a smaller batch: one of these is at fault.
    Suspect,
    /// It will never be taken; the sink's words.
    Refused(Arc<str>),
}

/// What to do after a batch was not taken whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// In the order of the batch.
    pub fates: Vec<Fate>,
    /// The fault is in the messages: the sink itself may be in order, so nothing has to wait.
    pub refused: bool,
    /// A person must act.
    pub blocked: bool,
    /// Nothing but events of the agent itself was offered.
    pub own: bool,
    /// The earliest next try, when the destination named one.
    pub after: Option<Duration>,
    /// The sink's words.
    pub cause: String,
    /// For the metric.
    pub outcome: &'static str,
}

impl Verdict {
    /// Reads an answer for a batch of `messages`. A position outside it, or one both refused and untaken, refuses nothing: a sink's mistake
    /// may cost a repeat, never a message.
    pub fn of(error: SinkError, messages: usize) -> Verdict {
        match error {
            SinkError::Retry { untaken, after, cause } => {
                let fates = marked(messages, &untaken, Fate::Again).unwrap_or_else(|| vec![Fate::Again; messages]);
                Verdict { after, ..Verdict::new(fates, cause.to_string(), "retry") }
            }
            SinkError::Refused { refused, untaken, cause } => {
                let fates = refusal(messages, &refused, &untaken, &cause.to_string());
                Verdict { refused: true, ..Verdict::new(fates, cause.to_string(), "refused") }
            }
            SinkError::Blocked { cause } => {
                let fates = vec![Fate::Back; messages];
                Verdict { blocked: true, ..Verdict::new(fates, cause.to_string(), "blocked") }
            }
        }
    }

    /// Nobody knows what became of the batch.
    pub fn unanswered(cause: String, messages: usize) -> Verdict {
        Verdict::new(vec![Fate::Again; messages], cause, "unanswered")
    }

    /// A person must act, for a reason of the agent's own.
    pub fn blocked(cause: String) -> Verdict {
        Verdict { blocked: true, ..Verdict::new(Vec::new(), cause, "blocked") }
    }

    fn new(fates: Vec<Fate>, cause: String, outcome: &'static str) -> Verdict {
        Verdict { fates, refused: false, blocked: false, own: false, after: None, cause, outcome }
    }
}

/// `Taken` but for the named positions; `None` when none of them is in the batch.
fn marked(messages: usize, positions: &[usize], fate: Fate) -> Option<Vec<Fate>> {
    let mut fates = vec![Fate::Taken; messages];
    let mut any = false;
    for position in positions {
        if let Some(slot) = fates.get_mut(*position) {
            *slot = fate.clone();
            any = true;
        }
    }
    any.then_some(fates)
}

fn refusal(messages: usize, refused: &[auditferry_contract::Refusal], untaken: &[usize], cause: &str) -> Vec<Fate> {
    let back = marked(messages, untaken, Fate::Back);
    let mut fates = back.clone().unwrap_or_else(|| vec![Fate::Taken; messages]);
    let mut named = false;
    for refusal in refused {
        if let Some(slot @ Fate::Taken) = fates.get_mut(refusal.position) {
            *slot = Fate::Refused(refusal.cause.to_string().into());
            named = true;
        }
    }
    if named {
        return fates;
    }
    // not known which: one of those that were not taken, or of all
    let suspects = |fate: Fate| if fate == Fate::Back { Fate::Suspect } else { fate };
    let mut fates = match back {
        Some(back) => back.into_iter().map(suspects).collect(),
        None => vec![Fate::Suspect; messages],
    };
    let mut found = fates.iter_mut().filter(|fate| **fate == Fate::Suspect);
    if let (Some(only), None) = (found.next(), found.next()) {
        *only = Fate::Refused(cause.into());
    }
    fates
}

#[cfg(test)]
mod tests {
    use auditferry_contract::{Cause, Refusal};

    use super::*;

    fn letters(fates: &[Fate]) -> String {
        let letter = |fate: &Fate| match fate {
            Fate::Taken => 't',
            Fate::Back => 'b',
            Fate::Again => 'a',
            Fate::Suspect => 's',
            Fate::Refused(_) => 'r',
        };
        fates.iter().map(letter).collect()
    }

    fn retry(untaken: &[usize]) -> String {
        let error = SinkError::Retry { untaken: untaken.to_vec(), after: None, cause: Cause("x".into()) };
        letters(&Verdict::of(error, 5).fates)
    }

    fn refused(refused: &[usize], untaken: &[usize], messages: usize) -> String {
        let refusal = |position: &usize| Refusal { position: *position, cause: Cause("y".into()) };
        let refused = refused.iter().map(refusal).collect();
        let error = SinkError::Refused { refused, untaken: untaken.to_vec(), cause: Cause("x".into()) };
        letters(&Verdict::of(error, messages).fates)
    }

    #[test]
    fn retry_takes_what_is_not_named_and_nothing_when_none_is() {
        assert_eq!(retry(&[]), "aaaaa");
        assert_eq!(retry(&[4, 2]), "ttata");
        assert_eq!(retry(&[9]), "aaaaa", "a position outside the batch proves nothing");
    }

    #[test]
    fn a_named_refusal_settles_the_others_too() {
        assert_eq!(refused(&[3], &[4], 5), "tttrb");
        assert_eq!(refused(&[0, 2], &[], 4), "rtrt");
    }

    #[test]
    fn an_unnamed_refusal_makes_suspects_and_one_suspect_is_the_culprit() {
        assert_eq!(refused(&[], &[], 4), "ssss");
        assert_eq!(refused(&[], &[1, 2], 4), "tsst");
        assert_eq!(refused(&[], &[2], 4), "ttrt");
        assert_eq!(refused(&[], &[], 1), "r");
    }

    #[test]
    fn a_sinks_own_mistake_refuses_nothing() {
        assert_eq!(refused(&[7], &[], 3), "sss", "outside the batch");
        assert_eq!(refused(&[1], &[1, 2], 3), "tss", "refused and untaken");
    }

    #[test]
    fn what_a_person_must_mend_is_nobodys_fault() {
        let verdict = Verdict::of(SinkError::blocked("x"), 2);
        assert_eq!((letters(&verdict.fates).as_str(), verdict.blocked, verdict.refused), ("bb", true, false));
    }
}

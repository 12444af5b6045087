//! The agent's rule after an error, as far as the suite needs it: what is untaken goes out again, an unknown culprit is found by
//! halving, and what is left over alone is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use auditferry_contract::{Sink, SinkError};

use crate::trial::Trial;

/// What became of the bodies, by their index.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The sink said that these were taken.
    pub taken: BTreeSet<usize>,
    /// The sink said that these never will be.
    pub refused: BTreeSet<usize>,
    /// Went out once or more in a batch of which it is not known what was taken: these may be there twice.
    pub unclear: BTreeSet<usize>,
    /// Calls that it took.
    pub calls: usize,
}

/// Sends the bodies until each is taken or refused, in at most `calls` calls.
pub async fn drive(trial: &Trial<'_>, bodies: &[Vec<u8>], calls: usize) -> Outcome {
    let name = trial.name;
    let mut outcome = Outcome::default();
    let mut open: Option<Arc<dyn Sink>> = None;
    let mut waiting: Vec<Vec<usize>> = vec![(0..bodies.len()).collect()];
    let mut failures: BTreeMap<usize, usize> = BTreeMap::new();
    while let Some(part) = waiting.pop() {
        assert!(outcome.calls < calls, "{name}: not done after {calls} calls: {outcome:?}");
        outcome.calls += 1;
        let sink = match open.take() {
            Some(sink) => sink,
            None => trial.open().await,
        };
        let batch: Vec<_> = part.iter().map(|i| bodies[*i].clone()).collect();
        let error = match trial.call(sink.as_ref(), &batch).await {
            Ok(()) => {
                open = Some(sink);
                outcome.taken.extend(part);
                continue;
            }
            Err(error) => error,
        };
        let pick = |positions: &[usize]| positions.iter().map(|at| part[*at]).collect::<Vec<_>>();
        match error {
            SinkError::Blocked { .. } => panic!("{name}: the messages are at fault, not the configuration: {error}"),
            SinkError::Retry { untaken, .. } => {
                let again = if untaken.is_empty() { part.clone() } else { pick(&untaken) };
                for i in &again {
                    let failed = failures.entry(*i).or_default();
                    *failed += 1;
                    assert!(*failed < 4, "{name}: the same message is to be tried again and again");
                }
                if untaken.is_empty() {
                    outcome.unclear.extend(&part);
                }
                outcome.taken.extend(part.iter().filter(|i| !again.contains(i)));
                waiting.push(again);
            }
            SinkError::Refused { refused, untaken, .. } if refused.is_empty() => {
                let suspects = if untaken.is_empty() { part.clone() } else { pick(&untaken) };
                outcome.taken.extend(part.iter().filter(|i| !suspects.contains(i)));
                if suspects.len() == 1 {
                    outcome.refused.extend(suspects);
                    continue;
                }
                if untaken.is_empty() {
                    outcome.unclear.extend(&part);
                }
                let (first, second) = suspects.split_at(suspects.len() / 2);
                waiting.extend([second.to_vec(), first.to_vec()]);
            }
            SinkError::Refused { refused, untaken, .. } => {
                let culprits = pick(&refused.iter().map(|refusal| refusal.position).collect::<Vec<_>>());
                let again = pick(&untaken);
                outcome.taken.extend(part.iter().filter(|i| !culprits.contains(i) && !again.contains(i)));
                outcome.refused.extend(culprits);
                if !again.is_empty() {
                    waiting.push(again);
                }
            }
        }
    }
    outcome
}

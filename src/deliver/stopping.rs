//! A clean stop: what is out may still be answered, the sink is closed, and what that settles is confirmed.

use std::time::Duration;

use super::{
    Deliver,
    course::{Course, Ending, Event},
};
use crate::ledger::LedgerError;

/// Answers are waited for this long; the agent abandons every loop after 9 s.
const ANSWERS: Duration = Duration::from_millis(7500);
/// The same for a sink whose close takes part of the time.
const ANSWERS_BEFORE_CLOSE: Duration = Duration::from_millis(2500);
/// And what the ledger is being told of the sink for this long: a ledger that can't be written would take much longer.
const TELLING: Duration = Duration::from_millis(500);

impl Deliver {
    /// Ends this loop. What does not end in time is sent again after the next start.
    pub(super) async fn stop(&self, course: &mut Course) -> Result<(), LedgerError> {
        let settles = !self.limits.settle.is_zero();
        let mut time = self.sleep(if settles { ANSWERS_BEFORE_CLOSE } else { ANSWERS });
        course.made = None;
        course.reading = None;
        course.acquiring = None;
        loop {
            if course.confirming.is_none() {
                course.confirming = self.confirm(course);
            }
            if course.flight.running() == 0 && course.confirming.is_none() {
                break;
            }
            let event = tokio::select! {
                biased;
                event = course.next() => event,
                () = &mut time => break,
            };
            match event {
                Event::Landed(_) | Event::Lost(_) | Event::Closed(_) | Event::Confirmed(Ok(_)) => {
                    self.happened(course, event)?
                }
                // said already, and what is not confirmed is sent again
                Event::Confirmed(Err(error)) if error.passes() => return Ok(()),
                Event::Confirmed(Err(error)) | Event::Told(Err(error)) => return Err(error),
                _ => {}
            }
        }
        if let Some(telling) = course.telling.take() {
            tokio::select! {
                biased;
                told = telling => drop(told?),
                () = self.sleep(TELLING) => {}
            }
        }
        let failed = matches!(course.ending, Some(Ending::Failed(_))) || course.flight.running() > 0;
        let Some(open) = course.open.as_mut().filter(|_| !failed) else { return self.last(course).await };
        // it may be closed already, to be opened anew
        let closing = course.closing.take().unwrap_or_else(|| self.close(std::sync::Arc::clone(&open.sink)));
        let clean = tokio::select! {
            biased;
            // a connection that is gone settles nothing, whatever a close makes of it
            _ = &mut open.lost => false,
            clean = closing => clean,
        };
        self.unsettle(course, clean);
        self.last(course).await
    }

    /// Confirms what is settled by now, for the last time.
    async fn last(&self, course: &mut Course) -> Result<(), LedgerError> {
        // the one that a slow disk still works on has its turn first: two of the same steps would not fit each other
        if let Some(confirming) = course.confirming.take() {
            match confirming.await {
                Ok(confirmed) => self.confirmed(course, confirmed),
                Err(error) if error.passes() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match self.confirm(course) {
            Some(confirming) => match confirming.await {
                // not confirmed is sent again: a full disk must not turn a clean stop into a failed one
                Err(error) if !error.passes() => Err(error),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }
}

//! Works off what commands asked for (design §4): a command writes a row, this loop does the work in bounded steps.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    ledger::{Ledger, LedgerError, Millis, Request},
    world::World,
};

/// While the ledger can't be written.
const WAIT: Duration = Duration::from_secs(30);

/// Takes up requests, one after the other, in the order in which they were asked.
pub struct Requests {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) activity: Activity,
    /// Between two looks. A command is another process and can't wake anybody.
    pub(crate) every: Duration,
}

impl Requests {
    /// Runs until `stop`; ends early only when the ledger is broken.
    pub async fn run(self, mut stop: Stop) -> Result<(), LedgerError> {
        while !stop.is_set() {
            let wait = match self.turn(&mut stop).await {
                Ok(()) => self.every,
                Err(error) if error.passes() => {
                    if self.activity.ledger_fails(error.to_string(), millis(&self.world)) {
                        error!("{error}");
                    }
                    WAIT
                }
                Err(error) => return Err(error),
            };
            self.pulse(wait);
            stop.sleep(&self.world, wait).await;
        }
        Ok(())
    }

    fn pulse(&self, wait: Duration) {
        let now = millis(&self.world);
        self.activity.pulse("requests", now, now + wait.as_millis() as Millis);
    }

    /// Everything that is asked now.
    async fn turn(&self, stop: &mut Stop) -> Result<(), LedgerError> {
        while let Some(id) = self.ledger.next_request().await? {
            let mut announced = false;
            loop {
                if stop.is_set() {
                    return Ok(());
                }
                self.pulse(self.every);
                let request = match self.ledger.work_request(id, millis(&self.world)).await {
                    Ok(Some(request)) => request,
                    Ok(None) => break,
                    Err(LedgerError::Broken(words)) => {
                        // a row that can't be read must not end the agent at every start; the rest of the ledger speaks for itself
                        error!(request = id, "can't be worked off: {words}");
                        let words = format!("it can't be worked off, nothing more of it was done: {words}");
                        self.ledger.refuse_request(id, words, millis(&self.world)).await?;
                        break;
                    }
                    Err(error) => return Err(error),
                };
                if !announced {
                    info!(request = id, who = request.who, "takes up: {}", request.what);
                    announced = true;
                }
                if request.ended_at.is_some() {
                    self.ended(&request);
                    break;
                }
            }
        }
        Ok(())
    }

    fn ended(&self, request: &Request) {
        let (id, words) = (request.id, request.outcome.as_deref().unwrap_or_default());
        if request.refused {
            warn!(request = id, "not done: {}: {words}", request.what);
        } else {
            info!(request = id, "done: {}: {words}", request.what);
        }
        // there may be records to deliver, room in a quarantine or in the body budget, and gaps to speak of
        self.activity.hints.deliver.notify_waiters();
        self.activity.hints.fetch.notify_one();
        self.activity.hints.sweep.notify_one();
    }
}

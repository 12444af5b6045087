//! Loop 3, one task per sink: hands over what the sink is owed (design §3 and §4, 5 and 6).
//!
//! No sink retries or reconnects: what happens after an error is decided here, and only here (I7). Each turn of the loop starts what can
//! be started (`start`), waits for one thing to happen, and takes note of it (`landing`). What is under way is in [`Course`]; all of it can be read
//! from the ledger again.

mod batch;
mod block;
mod confirm;
mod course;
mod flight;
mod history;
mod landing;
mod room;
mod start;
mod stopping;
mod tell;
mod track;
mod trust;
mod turn;
mod verdict;
mod voice;

use std::{sync::Arc, time::Duration};

use auditferry_contract::{CheckedSink, Limits};

use course::{Course, Event};

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    codec::Codec,
    config::Filter,
    env::SinkEnv,
    ledger::{Ledger, LedgerError, Millis},
    world::World,
};

/// What is needed to serve one sink.
pub struct Deliver {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    /// The sink's key in the ledger.
    pub(crate) sink: i64,
    pub(crate) name: String,
    pub(crate) checked: Arc<dyn CheckedSink>,
    pub(crate) limits: Limits,
    pub(crate) env: Arc<SinkEnv>,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) filter: Filter,
    /// Bytes that its quarantine may hold.
    pub(crate) quarantine: u64,
    pub(crate) activity: Activity,
    /// Messages that may be out, wait or be unsettled at once.
    pub(crate) positions: usize,
}

/// What one sink's loop remembers stays below some MiB with so many messages out, waiting or unsettled, and what a crash repeats is bounded.
pub const POSITIONS: usize = 100_000;

/// A loop that waits turns at least this often.
const TICK: Duration = Duration::from_secs(60);
/// While the ledger can't be written, it is tried again after this.
const LEDGER_PAUSE: Duration = Duration::from_secs(30);

impl Deliver {
    /// Runs until `stop`; ends early only when the ledger is broken.
    pub async fn run(self, mut stop: Stop) -> Result<(), LedgerError> {
        let mut course = Course::new(&self.limits);
        while !stop.is_set() {
            self.pulse();
            match self.turn(&mut course, &mut stop).await {
                Ok(()) => {}
                Err(error) if error.passes() => self.ledger_fails(&mut course, &error),
                Err(error) => return Err(error),
            }
        }
        let stopped = self.stop(&mut course).await;
        self.say(course.voice.rest(millis(&self.world)));
        stopped
    }

    async fn turn(&self, course: &mut Course, stop: &mut Stop) -> Result<(), LedgerError> {
        // registered before the ledger is read: what is stored meanwhile still wakes this loop
        let woken = self.activity.hints.deliver.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        // one for the whole turn: what happens meanwhile must not put it off
        let tick = self.world.sleep(TICK);
        tokio::pin!(tick);
        loop {
            self.start(course)?;
            // after a failure was weighed, which is done in `start` once nothing runs any more
            self.say_due(course);
            if course.telling.is_none() {
                course.telling = self.tell(course);
            }
            let event = tokio::select! {
                biased;
                () = stop.wait() => return Ok(()),
                event = course.next() => event,
                () = &mut woken => Event::Woken,
                () = &mut tick => Event::Woken,
            };
            let woken = matches!(event, Event::Woken);
            self.happened(course, event)?;
            if woken {
                // at the latest now the ledger is looked at again
                course.look();
                return Ok(());
            }
            self.pulse();
        }
    }

    /// The loop's name where loops are told apart.
    pub(crate) fn pulse_name(&self) -> String {
        format!("deliver {}", self.name)
    }

    /// The loop turns now, and again within [`TICK`].
    fn pulse(&self) {
        let now = millis(&self.world);
        self.activity.pulse(&self.pulse_name(), now, now + TICK.as_millis() as Millis);
    }

    /// Nothing is confirmed while the ledger can't be written; to send more meanwhile would only mean to repeat more.
    fn ledger_fails(&self, course: &mut Course, error: &LedgerError) {
        let words = error.to_string();
        self.say(course.voice.ledger_fails(&words, millis(&self.world)));
        self.activity.ledger_error(Some(words));
        course.ledger_pause = Some(self.sleep(LEDGER_PAUSE));
        // a hint may have come with the error
        course.look();
    }

    fn sleep(&self, time: Duration) -> futures_util::future::BoxFuture<'static, ()> {
        let world = self.world.clone();
        Box::pin(async move { world.sleep(time).await })
    }
}

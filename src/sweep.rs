//! Loop 4: forgets, drops bodies, records what is lost and has it said (design §4, 7).

use std::time::Duration;

use tracing::{error, info, warn};

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    budget,
    ledger::{Ledger, LedgerError, Millis},
    own_events,
    source::office365::Office365,
    world::World,
};

/// A content is remembered this long after it was published and admitted: the service repeats records days later.
const MEMORY: Millis = 10 * 24 * 3_600_000;
/// A content that can't be fetched is given up this long after its expiry: the service itself says when one has expired.
const GRACE: Millis = 600_000;
const HOUR: Millis = 3_600_000;
/// Between two turns without a wake-up.
const EVERY: Duration = Duration::from_secs(60);

/// Keeps the ledger small and honest.
pub struct Sweep {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    /// Compressed bytes.
    pub(crate) body_budget: u64,
    pub(crate) activity: Activity,
    /// Of each stream: key, `tenant/content type`, and the client that knows the service's time.
    pub(crate) sources: Vec<(i64, String, Office365)>,
}

impl Sweep {
    /// Runs until `stop`; ends early only when the ledger is broken.
    pub async fn run(self, mut stop: Stop) -> Result<(), LedgerError> {
        let mut said_at = Millis::MIN;
        while !stop.is_set() {
            match self.turn(&mut said_at).await {
                Ok(()) => {}
                Err(error) if error.passes() => {
                    if self.activity.ledger_fails(error.to_string(), millis(&self.world)) {
                        error!("{error}");
                    }
                }
                Err(error) => return Err(error),
            }
            self.pulse(EVERY);
            tokio::select! {
                biased;
                () = stop.wait() => {}
                () = self.activity.hints.sweep.notified() => {}
                () = self.world.sleep(EVERY) => {}
            }
        }
        Ok(())
    }

    /// It turned, and sleeps for so long at most. Also in the midst of a turn that has much to do: who works does not hang.
    fn pulse(&self, wait: Duration) {
        let now = millis(&self.world);
        self.activity.pulse("sweep", now, now + wait.as_millis() as Millis);
    }

    async fn turn(&self, said_at: &mut Millis) -> Result<(), LedgerError> {
        self.drop_bodies().await?;
        let now = millis(&self.world);
        if now.saturating_sub(*said_at) >= HOUR {
            *said_at = now;
            self.say_what_is_gone().await?;
        }
        self.expire(now).await?;
        let memory = if self.world.gate.mutant("a memory of an hour") { HOUR } else { MEMORY };
        // of a clock that jumps ahead nothing is forgotten: it would all come again
        let known = self.heard(now).map(|heard| heard.min(now));
        let before = known.map_or(Millis::MIN, |known| known - memory);
        let due = self.ledger.due(before).await?;
        while due.old && self.ledger.forget(before).await? {
            self.pulse(Duration::ZERO);
        }
        if due.gaps {
            self.announce(now).await?;
        }
        Ok(())
    }

    /// By the time that the service last told, once it was heard in this life: a clock of this machine that is wrong, or jumps, must not end what
    /// can still be had.
    async fn expire(&self, now: Millis) -> Result<(), LedgerError> {
        let known = self.activity.streams();
        for (stream, name, source) in &self.sources {
            let listed = known.get(name).is_some_and(|stream| stream.listed_at.is_some());
            if let Some(heard) = source.service_heard().filter(|_| listed) {
                let mut before = heard.as_millisecond() - GRACE;
                if self.world.gate.mutant("expiry by the machine's clock") {
                    before = now - GRACE;
                }
                while self.ledger.expire(vec![*stream], true, before, now).await? {
                    self.pulse(Duration::ZERO);
                }
            }
        }
        let configured: Vec<i64> = self.sources.iter().map(|(stream, ..)| *stream).collect();
        let Some(heard) = self.heard(now) else { return Ok(()) };
        while self.ledger.expire(configured.clone(), false, heard.min(now) - GRACE, now).await? {
            self.pulse(Duration::ZERO);
        }
        Ok(())
    }

    /// What a service last said the time is; `None`: none was heard in this life. Without a service there is only this machine's clock.
    fn heard(&self, now: Millis) -> Option<Millis> {
        if self.sources.is_empty() {
            return Some(now);
        }
        self.sources.iter().filter_map(|(.., source)| source.service_heard()).max().map(|heard| heard.as_millisecond())
    }

    /// What the time is at the service, by its last answer and the time that has gone by since on this machine, whose clock may be wrong by weeks; `None`: it has
    /// said nothing in this life.
    fn present(&self, now: Millis) -> Option<Millis> {
        let heard = self.heard(now)?;
        let heard_of = self.sources.iter().filter(|(.., source)| source.service_heard().is_some());
        Some(heard_of.map(|(.., source)| source.service_now().as_millisecond()).fold(heard, Millis::max))
    }

    /// A sink that is gone from the configuration while something is kept for it: said hourly, since it ends nothing by itself.
    async fn say_what_is_gone(&self) -> Result<(), LedgerError> {
        for sink in self.ledger.sinks().await?.iter().filter(|sink| !sink.configured) {
            let oldest = self.ledger.oldest_owed(sink.id).await?;
            let age = oldest.map(|oldest| millis(&self.world) - oldest);
            if let Some(kept) = kept(age, self.ledger.quarantine_bytes(sink.id).await?) {
                warn!(
                    sink = sink.name,
                    "is gone from the configuration, and {kept}; put it back under its name, or end it with `auditferry retire-sink`"
                );
            }
        }
        Ok(())
    }

    async fn drop_bodies(&self) -> Result<(), LedgerError> {
        let mut freed = 0;
        loop {
            let view = self.ledger.budget_view(Vec::new(), millis(&self.world)).await?;
            if self.world.gate.mutant("no body is dropped") {
                break;
            }
            let plan = self.activity.sizes(|sizes| budget::plan(&view.states(), view.total, self.body_budget, sizes));
            let Some(drop) = plan.drop else { break };
            // what can be fetched again, and for a while yet
            let Some(present) = self.present(millis(&self.world)) else { break };
            let underway = self.activity.underway.clone();
            let drops = underway.drops();
            let dropped = self.ledger.drop_from_back(drop.sink, drop.share, underway, present + HOUR).await;
            if drops.end() {
                // it may be there, after all, or again
                self.activity.hints.deliver.notify_waiters();
            }
            let Some((content, bytes)) = dropped? else { break };
            self.activity.sizes(|sizes| sizes.dropped(content, bytes));
            freed += bytes;
            self.pulse(Duration::ZERO);
        }
        if freed > 0 {
            info!(
                bytes = freed,
                "dropped stored bodies to stay within body_budget; they are fetched again when there is room"
            );
            self.activity.hints.fetch.notify_one();
        }
        Ok(())
    }

    /// A gap is an event to every sink when it opens, then at most hourly, and when it closes.
    async fn announce(&self, now: Millis) -> Result<(), LedgerError> {
        for news in self.ledger.gap_news(now).await? {
            let gap = &news.gap;
            warn!(
                gap = gap.id,
                tenant = gap.tenant,
                content_type = gap.content_type,
                sink = gap.sink,
                records = gap.records,
                suspected = gap.suspected,
                "gap {}: {}",
                news.what,
                gap.reason
            );
            self.ledger.announce_gap(&news, own_events::gap_event(&news, now), now).await?;
            self.activity.hints.deliver.notify_waiters();
            self.pulse(Duration::ZERO);
        }
        Ok(())
    }
}

/// What is kept for a sink: contents, of which the oldest is so old, and so many bytes in its quarantine.
fn kept(age: Option<Millis>, quarantine: u64) -> Option<String> {
    let owed = age.map(|age| match age / HOUR {
        ..=0 => "is owed contents of the last hour".to_owned(),
        hours => format!("is owed contents of {hours} h ago"),
    });
    let refused =
        (quarantine > 0).then(|| format!("has {} KiB of refused records in its quarantine", quarantine.div_ceil(1024)));
    match (owed, refused) {
        (Some(owed), Some(refused)) => Some(format!("{owed}, and {refused}")),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_sink_that_is_gone_is_named() {
        let owed = "is owed contents of 2 h ago";
        assert_eq!(kept(None, 0), None);
        assert_eq!(kept(Some(HOUR - 1), 0).as_deref(), Some("is owed contents of the last hour"));
        assert_eq!(kept(Some(2 * HOUR), 0).as_deref(), Some(owed));
        let refused = "has 2 KiB of refused records in its quarantine";
        assert_eq!(kept(None, 1025).as_deref(), Some(refused));
        assert_eq!(kept(Some(2 * HOUR), 2048), Some(format!("{owed}, and {refused}")));
    }
}

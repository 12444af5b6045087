//! Every metric name, label and help text. A scrape renders one snapshot into a registry of its own.

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

use crate::{ledger::SinkView, status::Snapshot};

/// Media type of the answer: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric: name, help, labels.
pub struct Definition(pub &'static str, pub &'static str, pub &'static [&'static str]);

macro_rules! definitions {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $help:literal, [$($label:literal),*];)*) => {
        $(const $constant: Definition = Definition($name, $help, &[$($label),*]);)*
        /// All metrics, for the documentation and the tests that hold it.
        pub const ALL: &[&Definition] = &[$(&$constant),*];
    };
}

definitions! {
    BUILD = "auditferry_build_info", "always 1; what is running", ["version", "features"];
    STARTED = "auditferry_start_time_seconds", "when the agent started, Unix time in seconds", [];
    SECONDS_TO_LOSS = "auditferry_seconds_to_loss", "time until the first owed content without a stored body expires; +Inf when there is none", [];
    LISTING_AGE = "auditferry_stream_listing_age_seconds", "time since the stream was last listed to its end; never yet: since the agent started", ["stream"];
    NEWEST_AGE = "auditferry_stream_newest_content_age_seconds", "time since the service published the newest content that was listed; none yet: since the stream was configured", ["stream"];
    STREAM_ERROR = "auditferry_stream_failing", "1 while the stream can't be listed, with the code of the last error", ["stream", "code"];
    READ = "auditferry_records_read_total", "records in fetched bodies, each once", ["stream"];
    UNSELECTED = "auditferry_records_unselected_total", "records that the selection leaves out", ["stream"];
    UNREADABLE = "auditferry_records_unreadable_total", "records that are not JSON, too deep or too large; delivered as unreadable events", ["stream"];
    COPIES = "auditferry_records_copies_total", "records that the service repeated", ["stream"];
    ACCEPTED = "auditferry_records_accepted_total", "records that the sinks are owed", ["stream"];
    DIFFERING = "auditferry_bodies_differing_total", "bodies that differed when they were fetched again", ["stream"];
    OWED = "auditferry_sink_owed_total", "records that the sink was owed, those that were requeued since included", ["stream", "sink"];
    DELIVERED = "auditferry_sink_delivered_total", "records that the sink has taken", ["stream", "sink"];
    FILTERED = "auditferry_sink_filtered_total", "records that the sink's filter leaves out", ["stream", "sink"];
    SKIPPED = "auditferry_sink_skipped_total", "copies that the sink gets with another content", ["stream", "sink"];
    QUARANTINED = "auditferry_sink_quarantined", "records that the sink refused, kept", ["stream", "sink"];
    REQUEUED = "auditferry_sink_requeued_total", "records that left quarantine to be offered again: they are owed on the stream named requeue, or agent", ["stream", "sink"];
    QUARANTINE_BYTES = "auditferry_sink_quarantine_bytes", "size of the sink's quarantine in the ledger; it is full at 256 MiB", ["sink"];
    LOST = "auditferry_sink_lost_total", "records known to be lost to the sink; each is in a gap", ["stream", "sink"];
    LOST_CONTENTS = "auditferry_lost_contents_total", "contents lost before they were read: their records are not known", ["stream", "sink", "reason"];
    PENDING = "auditferry_sink_pending", "records stored and owed to the sink", ["stream", "sink"];
    BOOKS_OPEN = "auditferry_books_open", "identities of the books that do not close; anything but 0 is a defect", [];
    OLDEST = "auditferry_sink_oldest_pending_seconds", "age of the oldest content owed to the sink, by publication; 0 when nothing is owed", ["sink"];
    CONTENTS_OWED = "auditferry_sink_contents_owed", "contents owed to the sink", ["sink"];
    AHEAD = "auditferry_sink_stored_bytes", "compressed bytes stored for the sink", ["sink"];
    ATTEMPTS = "auditferry_sink_attempts_total", "calls of the sink, by outcome", ["sink", "outcome"];
    SENT_BYTES = "auditferry_sink_sent_bytes_total", "bytes of events taken by the sink since the start", ["sink"];
    FAILING = "auditferry_sink_failures_in_a_row", "failures since the sink last took something", ["sink"];
    UNPROVEN = "auditferry_settled_unproven_total", "messages that went out whole over three connections, each ended by the receiver before they had settled: they count as taken", ["sink"];
    LAG = "auditferry_sink_event_lag_seconds", "time from the newest event of the last batch to its confirmation", ["sink"];
    UNCONFIGURED = "auditferry_sink_unconfigured", "1 for a sink that is gone from the configuration while something is owed to it", ["sink"];
    CERTIFICATES = "auditferry_certificate_expires_timestamp_seconds", "when the first certificate in a PEM file that the sink uses ends, Unix time in seconds", ["sink", "file"];
    UNREADABLE_EVENTS = "auditferry_sink_unreadable_events_total", "records that mapping could not read, delivered as unreadable events", ["sink"];
    REQUESTS = "auditferry_api_requests_total", "requests to the audit API and the token endpoint, by operation and outcome code", ["source", "operation", "code"];
    THROTTLED = "auditferry_api_throttled_total", "answers that asked to slow down", ["source"];
    FETCH_FAILURES = "auditferry_fetch_failures_total", "bodies that could not be fetched and are tried again, by code", ["code"];
    UNFETCHED = "auditferry_contents_unfetched", "contents owed without a stored body", [];
    ASKED = "auditferry_requests", "what commands asked for: not over, and in all", ["state"];
    GAPS = "auditferry_gaps", "gaps recorded", ["state"];
    GAP_REASONS = "auditferry_gaps_by_reason", "gaps recorded: open ones (something was added within the last hour), and all", ["reason", "state"];
    LEDGER_BYTES = "auditferry_ledger_bytes", "sizes of the ledger's parts: file, wal (its log), bodies (compressed, in the file)", ["part"];
    BODY_BUDGET = "auditferry_body_budget_bytes", "compressed bytes of bodies that the ledger may keep; what does not fit is fetched again, as long as the service has it", [];
    LEDGER_FREE = "auditferry_ledger_free_bytes", "what is free on the file system of the ledger", [];
    LEDGER_ROWS = "auditferry_ledger_rows", "rows of the ledger's parts", ["part"];
    LEDGER_WRITABLE = "auditferry_ledger_writable", "0 while the ledger can't be written", [];
    TRANSACTIONS = "auditferry_ledger_transactions_total", "transactions that changed the ledger, each of one caller", [];
    COMMITS = "auditferry_ledger_commits_total", "COMMITs of these transactions: one for all that came while the last one was written, with an fdatasync of its own", [];
    LOOP_AGE = "auditferry_loop_turn_age_seconds", "time since the loop last turned", ["loop"];
    LOOP_HUNG = "auditferry_loop_hung", "1 for a loop that has not turned for 5 minutes and does not sleep until a time to come: /livez is false", ["loop"];
}

struct Scrape(Registry);

impl Scrape {
    fn gauge(&self, definition: &Definition, values: Vec<(Vec<&str>, f64)>) -> prometheus::Result<()> {
        let Definition(name, help, labels) = definition;
        let gauge = GaugeVec::new(Opts::new(*name, *help), labels)?;
        for (labels, value) in values {
            gauge.get_metric_with_label_values(&labels)?.set(value);
        }
        self.0.register(Box::new(gauge))
    }

    fn counter(&self, definition: &Definition, values: Vec<(Vec<&str>, u64)>) -> prometheus::Result<()> {
        let Definition(name, help, labels) = definition;
        let counter = IntCounterVec::new(Opts::new(*name, *help), labels)?;
        for (labels, value) in values {
            counter.get_metric_with_label_values(&labels)?.inc_by(value);
        }
        self.0.register(Box::new(counter))
    }
}

/// The answer to a scrape.
pub fn render(snapshot: &Snapshot) -> prometheus::Result<String> {
    let scrape = Scrape(Registry::new());
    streams(&scrape, snapshot)?;
    accounts(&scrape, snapshot)?;
    sinks(&scrape, snapshot)?;
    service(&scrape, snapshot)?;
    ledger(&scrape, snapshot)?;
    let text = TextEncoder::new().encode_to_string(&scrape.0.gather())?;
    // the encoder writes Rust's `inf`; the format says +Inf. A line ends so only with a value: labels end with a brace
    Ok(text.replace(" inf\n", " +Inf\n"))
}

fn count(value: i64) -> u64 {
    value.max(0) as u64
}

fn streams(scrape: &Scrape, snapshot: &Snapshot) -> prometheus::Result<()> {
    let names: Vec<String> = snapshot.books.streams.iter().map(|stream| stream.name()).collect();
    let of = |value: fn(&crate::ledger::StreamBooks) -> i64| {
        let streams = names.iter().zip(&snapshot.books.streams);
        streams.map(|(name, stream)| (vec![name.as_str()], count(value(stream)))).collect()
    };
    scrape.counter(&READ, of(|stream| stream.read))?;
    scrape.counter(&UNSELECTED, of(|stream| stream.unselected))?;
    scrape.counter(&UNREADABLE, of(|stream| stream.unreadable))?;
    scrape.counter(&COPIES, of(|stream| stream.copies))?;
    scrape.counter(&ACCEPTED, of(|stream| stream.accepted))?;
    scrape.counter(&DIFFERING, of(|stream| stream.differing))?;
    let since = |point: fn(&crate::ledger::StreamBooks) -> Option<i64>| {
        let streams = names.iter().zip(&snapshot.books.streams).filter(|(_, stream)| stream.configured);
        let ages = streams.filter_map(|(name, stream)| {
            let age = (snapshot.now - point(stream).or(snapshot.live.started)?) as f64 / 1000.0;
            Some((vec![name.as_str()], age.max(0.0)))
        });
        ages.collect()
    };
    scrape.gauge(&LISTING_AGE, since(|stream| stream.listed))?;
    scrape.gauge(&NEWEST_AGE, since(|stream| stream.newest.or(stream.registered)))?;
    let failing =
        snapshot.live.streams.iter().filter_map(|(name, live)| Some((vec![name.as_str(), live.code.as_deref()?], 1.0)));
    scrape.gauge(&STREAM_ERROR, failing.collect())
}

fn floats(values: Vec<(Vec<&str>, u64)>) -> Vec<(Vec<&str>, f64)> {
    values.into_iter().map(|(labels, value)| (labels, value as f64)).collect()
}

fn accounts(scrape: &Scrape, snapshot: &Snapshot) -> prometheus::Result<()> {
    let names: Vec<String> = snapshot.books.streams.iter().map(|stream| stream.name()).collect();
    let of = |value: fn(&crate::ledger::Account) -> i64| {
        let mut values = Vec::new();
        for (name, stream) in names.iter().zip(&snapshot.books.streams) {
            // a retired sink takes no part any more, and its name may be that of a new one
            for account in stream.accounts.iter().filter(|account| !account.retired) {
                values.push((vec![name.as_str(), account.sink.as_str()], count(value(account))));
            }
        }
        values
    };
    scrape.counter(&OWED, of(|account| account.owed + account.requeued))?;
    scrape.counter(&REQUEUED, of(|account| account.requeued))?;
    scrape.counter(&DELIVERED, of(|account| account.delivered))?;
    scrape.counter(&FILTERED, of(|account| account.filtered))?;
    scrape.counter(&SKIPPED, of(|account| account.skipped))?;
    scrape.counter(&LOST, of(|account| account.lost))?;
    scrape.gauge(&QUARANTINED, floats(of(|account| account.quarantined)))?;
    scrape.gauge(&PENDING, floats(of(|account| account.pending)))?;
    let lost = snapshot
        .books
        .lost_contents
        .iter()
        .map(|(stream, sink, reason, contents)| (vec![stream.as_str(), sink.as_str(), reason.as_str()], *contents));
    scrape.counter(&LOST_CONTENTS, lost.collect())?;
    scrape.gauge(&BOOKS_OPEN, vec![(vec![], snapshot.books.imbalances().len() as f64)])
}

fn sinks(scrape: &Scrape, snapshot: &Snapshot) -> prometheus::Result<()> {
    let books: Vec<_> = snapshot.books.sinks.iter().filter(|sink| !sink.retired).collect();
    let size = |sink: &SinkView| sink.quarantine_bytes as f64;
    scrape.gauge(&QUARANTINE_BYTES, books.iter().map(|sink| (vec![sink.name.as_str()], size(sink))).collect())?;
    let age = |oldest: Option<i64>| oldest.map_or(0.0, |oldest| (snapshot.now - oldest) as f64 / 1000.0);
    scrape.gauge(&OLDEST, books.iter().map(|sink| (vec![sink.name.as_str()], age(sink.oldest))).collect())?;
    scrape
        .gauge(&CONTENTS_OWED, books.iter().map(|sink| (vec![sink.name.as_str()], sink.contents as f64)).collect())?;
    scrape.gauge(&AHEAD, books.iter().map(|sink| (vec![sink.name.as_str()], sink.ahead as f64)).collect())?;
    let gone = books.iter().filter(|sink| !sink.configured && (sink.contents > 0 || sink.quarantine_bytes > 0));
    scrape.gauge(&UNCONFIGURED, gone.map(|sink| (vec![sink.name.as_str()], 1.0)).collect())?;
    let live = &snapshot.live.sinks;
    let mut attempts = Vec::new();
    for (name, sink) in live {
        attempts.extend(sink.attempts.iter().map(|(outcome, number)| (vec![name.as_str(), *outcome], *number)));
    }
    scrape.counter(&ATTEMPTS, attempts)?;
    let unproven = live.iter().map(|(name, sink)| (vec![name.as_str()], sink.settled_unproven));
    scrape.counter(&UNPROVEN, unproven.collect())?;
    scrape.counter(&SENT_BYTES, live.iter().map(|(name, sink)| (vec![name.as_str()], sink.bytes)).collect())?;
    scrape.counter(
        &UNREADABLE_EVENTS,
        live.iter().map(|(name, sink)| (vec![name.as_str()], sink.unreadable)).collect(),
    )?;
    scrape
        .gauge(&FAILING, live.iter().map(|(name, sink)| (vec![name.as_str()], f64::from(sink.failures))).collect())?;
    let mut certificates = Vec::new();
    for (name, sink) in live {
        let ends =
            sink.certificates.iter().map(|(file, end)| (vec![name.as_str(), file.as_str()], *end as f64 / 1000.0));
        certificates.extend(ends);
    }
    scrape.gauge(&CERTIFICATES, certificates)?;
    let lag = live.iter().filter_map(|(name, sink)| Some((vec![name.as_str()], sink.lag? as f64 / 1000.0)));
    scrape.gauge(&LAG, lag.collect())
}

fn service(scrape: &Scrape, snapshot: &Snapshot) -> prometheus::Result<()> {
    scrape.gauge(&SECONDS_TO_LOSS, vec![(vec![], snapshot.seconds_to_loss())])?;
    let mut requests = Vec::new();
    let mut throttled = Vec::new();
    for (source, counters) in &snapshot.live.requests {
        throttled.push((vec![source.as_str()], counters.throttled));
        for ((operation, code), number) in &counters.requests {
            requests.push((vec![source.as_str(), *operation, code.as_str()], *number));
        }
    }
    scrape.counter(&REQUESTS, requests)?;
    scrape.counter(&THROTTLED, throttled)?;
    let failures = snapshot.live.fetch_failures.iter().map(|(code, number)| (vec![code.as_str()], *number));
    scrape.counter(&FETCH_FAILURES, failures.collect())
}

fn ledger(scrape: &Scrape, snapshot: &Snapshot) -> prometheus::Result<()> {
    let books = &snapshot.books;
    scrape.gauge(&BUILD, vec![(vec![env!("CARGO_PKG_VERSION"), &crate::features().join(",")], 1.0)])?;
    let started = snapshot.live.started.map(|at| (vec![], at as f64 / 1000.0));
    scrape.gauge(&STARTED, started.into_iter().collect())?;
    scrape.gauge(&UNFETCHED, vec![(vec![], books.unfetched as f64)])?;
    let asked = vec![(vec!["open"], books.open_requests as f64), (vec!["all"], books.all_requests as f64)];
    scrape.gauge(&ASKED, asked)?;
    scrape.gauge(&GAPS, vec![(vec!["open"], books.open_gaps as f64), (vec!["all"], books.gaps as f64)])?;
    let mut reasons = Vec::new();
    for (reason, open, all) in &books.gaps_by_reason {
        reasons.push((vec![reason.as_str(), "open"], *open as f64));
        reasons.push((vec![reason.as_str(), "all"], *all as f64));
    }
    scrape.gauge(&GAP_REASONS, reasons)?;
    let budget = snapshot.live.bounds.map(|bounds| (vec![], bounds.bodies as f64));
    scrape.gauge(&BODY_BUDGET, budget.into_iter().collect())?;
    let free = books.free_bytes.map(|bytes| (vec![], bytes as f64));
    scrape.gauge(&LEDGER_FREE, free.into_iter().collect())?;
    scrape.gauge(
        &LEDGER_BYTES,
        vec![
            (vec!["file"], books.file_bytes as f64),
            (vec!["wal"], books.wal_bytes as f64),
            (vec!["bodies"], books.stored_bytes as f64),
        ],
    )?;
    scrape.gauge(&LEDGER_ROWS, vec![(vec!["contents"], books.contents as f64), (vec!["ids"], books.seen as f64)])?;
    let writable = if snapshot.live.ledger_error.is_some() { 0.0 } else { 1.0 };
    scrape.gauge(&LEDGER_WRITABLE, vec![(vec![], writable)])?;
    let commits = snapshot.live.commits;
    scrape.counter(&TRANSACTIONS, vec![(vec![], commits.transactions)])?;
    scrape.counter(&COMMITS, vec![(vec![], commits.commits)])?;
    let ages = snapshot
        .live
        .pulses
        .iter()
        .map(|(name, pulse)| (vec![name.as_str()], (snapshot.now - pulse.turned) as f64 / 1000.0));
    scrape.gauge(&LOOP_AGE, ages.collect())?;
    let pulses = snapshot.live.pulses.iter();
    let hung = pulses.map(|(name, pulse)| (vec![name.as_str()], f64::from(u8::from(pulse.hangs(snapshot.now)))));
    scrape.gauge(&LOOP_HUNG, hung.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_explained_in_the_docs() {
        let page = include_str!("../docs/metrics.md");
        for Definition(name, help, labels) in ALL {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let row = format!("| `{name}` | {labels} | {help} |");
            assert!(page.contains(&row), "docs/metrics.md lacks: {row}");
        }
        assert_eq!(page.matches("| `auditferry_").count(), ALL.len(), "docs/metrics.md explains what is not there");
    }
}

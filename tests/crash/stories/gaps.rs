//! What is lost is a row, and an event at every sink.

use std::cell::Cell;

use auditferry::{
    ledger::{Gap, Millis},
    simulator::faults::{AnswerFault, Disabled, Operation, When, Wrong},
};
use futures_util::FutureExt;

use super::{DAY, HOUR, MINUTE, after, arrived_once, calm, live, missing, published};
use crate::{
    checks, disk,
    stage::{SinkPlan, Stage},
};

fn gaps(stage: &Stage) -> Vec<Gap> {
    stage.ledger().gaps(100).now_or_never().unwrap().unwrap()
}

#[test]
fn what_could_not_be_listed_for_more_than_7_days_is_a_gap_and_an_event_at_every_sink() {
    let mut profile = calm(4 * HOUR, 12 * HOUR);
    let (from, until) = (after(&profile, 6 * HOUR), after(&profile, 6 * HOUR + 8 * DAY));
    profile.tenants[0].faults.answers = vec![AnswerFault {
        when: When::between(from, until),
        on: Some(Operation::Contents),
        wrong: Wrong::Status(503),
    }];
    profile.tenants[0].end = Some(after(&profile, 9 * DAY));
    // contents outlive their being listed, so that only the window is lost
    profile.tenants[0].keep = 21 * DAY;
    let mut stage = Stage::new(profile);
    stage.start = 12 * HOUR;
    stage.poll = HOUR;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    live(&mut stage, &sinks, 9 * DAY, |_| {});
    let (from, until) = (from.as_millisecond(), until.as_millisecond());
    let found = gaps(&stage);
    assert_eq!(found.len(), 1, "{found:?}");
    let gap = &found[0];
    assert_eq!((gap.reason.as_str(), gap.suspected, gap.records), ("not listed within 7 days", false, None));
    assert_eq!((gap.sink.as_deref(), gap.content_id.as_deref()), (None, None), "it concerns every sink");
    let poll = HOUR.as_millis() as Millis;
    assert!((from - poll..=from).contains(&gap.from), "from the last complete listing: {gap:?}");
    let reach = until - 7 * DAY.as_millis() as Millis;
    assert!((reach..=reach + 2 * poll).contains(&gap.to), "up to what is in reach: {gap:?}");
    assert!(gap.closed_at.is_some());
    let contents = published(&stage);
    let inside = |created: Millis| (gap.from..gap.to).contains(&created);
    assert!(contents.iter().filter(|content| inside(content.created)).count() >= 5);
    for sink in ["siem", "lake"] {
        let due = contents.iter().filter(|it| !inside(it.created) && it.created < stage.now() - 2 * poll);
        let since = stage.profile.start.as_millisecond() - 12 * HOUR.as_millis() as Millis;
        assert_eq!(missing(&stage, sink, due.filter(|it| it.created >= since)), Vec::<String>::new());
        let destination = &stage.destinations[sink];
        let opened = destination.of_operation("AuditGapOpened");
        assert_eq!(opened.len(), 1);
        for part in ["not listed within 7 days", &stage.profile.tenants[0].id, "Audit.General"] {
            assert!(opened[0].body.contains(part), "{part} in {}", opened[0].body);
        }
        // it grows for a day and an hour, and is spoken of hourly at most, after 8 hours less often
        let grown = destination.of_operation("AuditGapGrown").len();
        assert!((12..=20).contains(&grown), "{grown}");
        assert_eq!(destination.of_operation("AuditGapClosed").len(), 1);
        arrived_once(&stage, sink);
    }
}

#[test]
fn a_subscription_that_somebody_disabled_is_a_suspected_gap_and_an_event_at_every_sink() {
    let mut profile = calm(10 * MINUTE, HOUR);
    profile.tenants[0].subscribed = vec!["Audit.General".into()];
    let off = after(&profile, 2 * HOUR + 7 * MINUTE);
    profile.tenants[0].faults.disabled = vec![(off, Disabled::ByTenantAdmin)];
    profile.tenants[0].end = Some(after(&profile, 4 * HOUR));
    let mut stage = Stage::new(profile);
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    live(&mut stage, &sinks, 6 * HOUR, |_| {});
    let found = gaps(&stage);
    assert_eq!(found.len(), 1, "{found:?}");
    let gap = &found[0];
    assert_eq!((gap.reason.as_str(), gap.suspected, gap.sink.as_deref()), ("subscription disabled", true, None));
    let off = off.as_millisecond();
    let few = stage.poll.as_millis() as Millis + 60_000;
    assert!((off - few..=off).contains(&gap.from) && (off..=off + few).contains(&gap.to), "{gap:?}");
    for sink in ["siem", "lake"] {
        let opened = stage.destinations[sink].of_operation("AuditGapOpened");
        assert_eq!(opened.len(), 1);
        assert!(opened[0].body.contains("subscription disabled"), "{}", opened[0].body);
        assert_eq!(stage.destinations[sink].of_operation("AuditGapClosed").len(), 1);
    }
    // it was enabled again: what came afterwards is there
    assert!(published(&stage).iter().any(|content| content.created > off + few));
    checks::at_the_end(&stage, &sinks, 0).unwrap();
}

#[test]
fn an_agent_that_was_down_for_8_days_says_what_is_lost_and_goes_on_with_what_is_there() {
    let mut profile = calm(2 * HOUR, 12 * HOUR);
    profile.tenants[0].subscribed = vec!["Audit.General".into()];
    profile.tenants[0].end = Some(after(&profile, 10 * DAY));
    let mut stage = Stage::new(profile);
    stage.start = 12 * HOUR;
    stage.poll = HOUR / 2;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    live(&mut stage, &sinks, DAY, |_| {});
    let stopped = stage.now();
    stage.pass(8 * DAY);
    let back = stage.now();
    live(&mut stage, &sinks, 12 * HOUR, |_| {});
    let found = gaps(&stage);
    let gap = found.iter().find(|gap| gap.reason == "not listed within 7 days").expect("a gap for the window");
    let poll = stage.poll.as_millis() as Millis;
    assert!((stopped - 2 * poll..=stopped).contains(&gap.from), "{gap:?}");
    let reach = back - 7 * DAY.as_millis() as Millis;
    assert!((reach..reach + poll).contains(&gap.to), "{gap:?}");
    // at the edge contents are still listed that can't be fetched any more: these are lost one by one
    let contents = published(&stage);
    let due = contents.iter().filter(|it| it.expires > back + 600_000 && it.created < stage.now() - 2 * poll);
    let since = stage.profile.start.as_millisecond() - 12 * HOUR.as_millis() as Millis;
    let due: Vec<_> = due.filter(|it| it.created >= since).collect();
    assert!(due.len() > 80, "{}", due.len());
    for sink in ["siem", "lake"] {
        assert_eq!(missing(&stage, sink, due.iter().copied()), Vec::<String>::new());
        assert!(!stage.destinations[sink].of_operation("AuditGapOpened").is_empty());
        arrived_once(&stage, sink);
    }
    let none_of = missing(&stage, "siem", contents.iter().filter(|it| it.created >= since));
    for lost in none_of {
        let content = contents.iter().find(|content| content.content_id == lost).unwrap();
        let known = found.iter().any(|gap| (gap.from..gap.to).contains(&content.created));
        assert!(known || content.created >= stage.now() - 2 * poll, "{lost} is in no gap");
    }
}

#[test]
fn a_machine_whose_clock_jumps_8_days_ahead_invents_no_gap_and_misses_nothing() {
    let mut stage = Stage::new(calm(10 * MINUTE, HOUR));
    let sinks = [SinkPlan::fake("siem")];
    live(&mut stage, &sinks, 2 * HOUR, |_| {});
    // the service goes on as before: seen from a machine that is 8 days ahead, it is 8 days behind
    let jump = 8 * DAY;
    stage.pass(jump);
    stage.service(|profile| profile.skew_ms = -(jump.as_millis() as i64));
    live(&mut stage, &sinks, 2 * HOUR, |_| {});
    let due = |stage: &Stage, sink: &str| {
        let service_now = stage.now() - jump.as_millis() as Millis;
        let contents = published(stage);
        missing(stage, sink, contents.iter().filter(|content| content.created < service_now - 600_000))
    };
    assert_eq!(gaps(&stage), []);
    assert_eq!(due(&stage, "siem"), Vec::<String>::new());
    arrived_once(&stage, "siem");
}

/// While it is off nothing is kept for anybody, and that it was off can be written down later.
#[test]
fn a_subscription_that_is_off_is_started_though_the_ledger_can_not_be_written_and_its_gap_is_said_later() {
    let mut profile = calm(10 * MINUTE, HOUR);
    profile.tenants[0].subscribed = vec!["Audit.General".into()];
    let off = after(&profile, 2 * HOUR + 7 * MINUTE);
    profile.tenants[0].faults.disabled = vec![(off, Disabled::ByTenantAdmin)];
    profile.tenants[0].end = Some(after(&profile, 6 * HOUR));
    let mut stage = Stage::new(profile);
    let sinks = [SinkPlan::fake("siem")];
    let off = off.as_millisecond();
    let hour = HOUR.as_millis() as Millis;
    let full = Cell::new(false);
    live(&mut stage, &sinks, 8 * HOUR, |stage| {
        let is = (off - 60_000..off + 2 * hour).contains(&stage.now());
        if is != full.replace(is) {
            if is { disk::fill(stage) } else { disk::make_room(stage) }
        }
    });
    let found = gaps(&stage);
    let gap = found.iter().find(|gap| gap.reason == "subscription disabled").expect("it is said");
    assert!(gap.from <= off && gap.to >= off, "{gap:?}");
    // what was published while the disk was still full is there: it was kept
    let contents = published(&stage);
    let few = stage.poll.as_millis() as Millis + 5 * 60_000;
    let kept = contents.iter().filter(|it| (off + few..off + 2 * hour).contains(&it.created));
    assert!(kept.clone().count() >= 10, "{} contents were kept by the service", kept.count());
    assert_eq!(missing(&stage, "siem", kept), Vec::<String>::new());
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "siem");
}

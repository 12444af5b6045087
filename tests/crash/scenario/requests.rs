//! The third scenario: COMMIT fails now and then, the disk is full for a while, a subscription is switched off, a sink refuses records that a
//! person has offered again or drops, and another one is retired.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use auditferry::{
    ledger::{Millis, Selection, Wanted},
    simulator::{
        Profile,
        faults::{AnswerFault, ContentFault, Disabled, Odd, Operation, When, Wrong},
    },
    world::LedgerFault,
};
use futures_util::FutureExt;
use jiff::SignedDuration;

use super::{
    MINUTE, Outcome, owed,
    play::{Phase, play},
};
use crate::{
    checks, disk,
    keeper::Broken,
    sinks::{Lossy, Poison, Says},
    stage::{SinkPlan, Stage},
};

fn profile() -> Profile {
    let mut profile = Profile::default();
    let start = profile.start;
    let after = |minutes: i64| start.checked_add(SignedDuration::from_mins(minutes)).unwrap();
    let tenant = &mut profile.tenants[0];
    tenant.interval = 6 * MINUTE;
    tenant.records_per_content = 5;
    tenant.power_platform_per_mille = 900;
    tenant.backfill = 90 * MINUTE;
    tenant.subscribed = vec!["Audit.General".into()];
    tenant.end = Some(after(110));
    let content = |every, odd| ContentFault { when: When::every(every), odd };
    tenant.faults.contents = vec![content(4, Odd::Twice), content(5, Odd::SharedId)];
    tenant.faults.disabled = vec![(after(52), Disabled::ByTenantAdmin)];
    tenant.faults.answers = vec![AnswerFault {
        when: When::between(after(10), after(13)),
        on: Some(Operation::Blob),
        wrong: Wrong::Late(Duration::from_secs(3600)),
    }];
    profile
}

pub fn run(kill_at: Option<u64>, mutant: Option<&'static str>) -> Result<Outcome, String> {
    let mut stage = Stage::new(profile());
    stage.poll = 10 * MINUTE;
    stage.start = 90 * MINUTE;
    stage.requests_every = 2 * MINUTE;
    let begun = stage.now();
    let after = |minutes: Millis| begun + minutes * 60_000;
    let broken =
        |from, until, call, every, fault| Broken { from: after(from), until: after(until), call, every, fault };
    let broken = [
        broken(0, 30, "", 5, LedgerFault::Commit),
        broken(30, 45, "read", 7, LedgerFault::Call),
        broken(90, 130, "request", 2, LedgerFault::Commit),
    ];
    stage.destination("gone").block(true);
    stage.destination("siem").poison(Some(Poison { every: 16, says: Says::Which }));
    stage.destination("soc").lossy(Some(Lossy { every: 5, orderly: false }));
    let soc = SinkPlan { settle: Duration::from_secs(5), ..SinkPlan::fake("soc") };
    let first = [SinkPlan::fake("siem"), SinkPlan::fake("gone"), soc.clone()];
    let all = [SinkPlan::fake("siem"), soc];
    let (full, calm) = (Cell::new(false), after(135));
    let phases = vec![
        Phase {
            meanwhile: Box::new(|stage| {
                let now = (after(60)..after(75)).contains(&stage.now());
                if now != full.replace(now) {
                    if now { disk::fill(stage) } else { disk::make_room(stage) }
                }
            }),
            ..Phase::new(&first, after(85))
        },
        Phase {
            before: Box::new(ask),
            over: Box::new(move |stage| {
                let open = "SELECT count(*) FROM request WHERE ended_at IS NULL";
                stage.now() > calm && owed(stage) == 0 && checks::sql(stage, open, |row| row.get::<_, i64>(0)) == Ok(0)
            }),
            ..Phase::new(&all, after(300))
        },
    ];
    play(&mut stage, phases, &broken, i64::MAX, kill_at, mutant)
}

/// The poison's cause is gone; a person drops one refused record, has the others offered again, and retires a sink.
fn ask(stage: &mut Stage) {
    if stage
        .memory
        .with(|it| it.query_row("SELECT count(*) FROM sqlite_master WHERE name = 'filler'", [], |row| row.get(0)))
        == Ok(1)
    {
        disk::make_room(stage);
    }
    stage.destination("siem").poison(None);
    let refused = "SELECT q.id, q.event FROM quarantine q JOIN sink k ON k.id = q.sink WHERE k.name = 'siem' ORDER BY q.id LIMIT 1";
    let refused = checks::column(stage, refused, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?)));
    let (ledger, now) = (stage.ledger(), stage.now());
    let ask = |wanted| ledger.ask("a person".into(), wanted, now).now_or_never().unwrap().unwrap();
    let of = |ids| Selection { sink: Some("siem".into()), ids, up_to: i64::MAX };
    if let Some((id, event)) = refused.unwrap_or_default().first().copied() {
        ask(Wanted::QuarantineDrop(of(vec![id])));
        stage.dropped.insert("siem", BTreeSet::from([auditferry_contract::EventId(event)]));
    }
    ask(Wanted::QuarantineRetry(of(vec![])));
    ask(Wanted::RetireSink { name: "gone".into() });
}

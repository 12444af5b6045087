//! A tenant's data is removed while its sink takes what it was owed: whatever is out, and wherever the agent dies.

use std::{collections::BTreeSet, sync::Arc};

use auditferry::{ledger::Wanted, simulator::TenantProfile};
use auditferry_contract::EventId;
use futures_util::FutureExt;

use super::{HOUR, MINUTE, after, books, calm, live};
use crate::{
    checks,
    keeper::Keeper,
    scenario::owed,
    stage::{SinkPlan, Stage},
};

/// A sink whose `Ok` counts after ten seconds only, so that much is out and unconfirmed when the request comes.
fn plan() -> SinkPlan {
    SinkPlan { settle: std::time::Duration::from_secs(10), ..SinkPlan::fake("siem") }
}

/// Two tenants, everything of both stored for a sink that stood still; then one leaves, with what it is owed. Its records.
fn left() -> (Stage, BTreeSet<EventId>) {
    let mut profile = calm(10 * MINUTE, HOUR);
    profile.tenants.push(TenantProfile { interval: 5 * MINUTE, backfill: HOUR, ..TenantProfile::numbered(2) });
    profile.tenants[1].power_platform_per_mille = 1000;
    let end = after(&profile, 10 * MINUTE);
    profile.tenants.iter_mut().for_each(|tenant| tenant.end = Some(end));
    let mut stage = Stage::new(profile);
    stage.start = HOUR;
    stage.requests_every = MINUTE;
    stage.destination("siem").block(true);
    live(&mut stage, &[plan()], HOUR, |_| {});
    stage.destination("siem").block(false);
    let gone = stage.profile.tenants.pop().unwrap().id;
    let of = format!(
        "SELECT b.body FROM chunk b JOIN content c ON c.id = b.content JOIN stream s ON s.id = c.stream JOIN tenant t ON t.id = s.tenant WHERE t.guid = '{gone}'"
    );
    let bodies: Vec<Vec<u8>> = checks::column(&stage, &of, |row| row.get(0)).unwrap();
    let ids = bodies.iter().flat_map(|body| {
        let opened = auditferry::fetch::chunk::open(body).unwrap();
        auditferry::fetch::chunk::frames(&opened).map(|frame| frame.unwrap().id).collect::<Vec<_>>()
    });
    let ids = ids.collect();
    let wanted = Wanted::RemoveTenant { tenant: gone, lose_owed: true };
    stage.ledger().ask("somebody".into(), wanted, stage.now()).now_or_never().unwrap().unwrap();
    (stage, ids)
}

/// Lives until all is done; dies once, at `kill_at`. Returns how many gates the first life had.
fn worked_off(stage: &mut Stage, kill_at: Option<u64>) -> usize {
    let first = Arc::new(Keeper::new(kill_at, None));
    let mut keeper = Arc::clone(&first);
    loop {
        let done = |stage: &Stage| owed(stage) == 0 && books(stage).open_requests == 0;
        stage.live(&keeper, &[plan()], 4 * HOUR, done).expect("the agent never ends by itself");
        assert_eq!(books(stage).imbalances(), []);
        if !keeper.is_dead() {
            return first.last(usize::MAX).len();
        }
        keeper = Arc::new(Keeper::new(None, None));
    }
}

#[test]
fn a_tenant_is_removed_while_its_records_are_on_their_way_wherever_the_agent_dies() {
    let (mut stage, _) = left();
    let gates = worked_off(&mut stage, None);
    assert!(gates > 50, "{gates} gates");
    let mut with_both = 0;
    for kill_at in (1..=gates as u64).step_by(4).map(Some).chain([None]) {
        let (mut stage, gone) = left();
        worked_off(&mut stage, kill_at);
        let state = books(&stage);
        let outcome = state.requests[0].outcome.clone().unwrap_or_default();
        assert!(outcome.starts_with("its data is removed: "), "killed at {kill_at:?}: {outcome}");
        // each of its records was confirmed, or is in a gap; the other tenant lost nothing
        let streams = state.streams.iter().filter(|stream| stream.origin == "listed");
        let accounts: Vec<_> = streams.map(|stream| &stream.accounts[0]).collect();
        assert_eq!((accounts[0].lost, accounts[0].delivered), (0, accounts[0].owed), "killed at {kill_at:?}");
        assert_eq!(accounts[1].owed as usize, gone.len());
        assert_eq!(accounts[1].lost + accounts[1].delivered, accounts[1].owed, "killed at {kill_at:?}");
        let gaps = stage.ledger().gaps(99).now_or_never().unwrap().unwrap();
        let told: u64 = gaps.iter().filter_map(|gap| gap.records).sum();
        assert_eq!(told as i64, accounts[1].lost, "killed at {kill_at:?}");
        // confirmed is taken (I2); what was taken and not confirmed is in the gap, which says more than is lost
        let taken = stage.taken("siem").into_iter().collect::<BTreeSet<_>>().intersection(&gone).count();
        assert!(taken as i64 >= accounts[1].delivered, "killed at {kill_at:?}");
        with_both += u64::from(accounts[1].lost > 0 && taken > 0);
        let left: Vec<i64> = checks::column(
            &stage,
            "SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM seen s JOIN tenant t ON t.id = s.tenant WHERE t.removed_at IS NOT NULL)",
            |row| row.get(0),
        )
        .unwrap();
        assert_eq!(left, [0], "killed at {kill_at:?}");
    }
    assert!(with_both > 2, "{with_both} lives in which some of its records were taken and some lost");
}

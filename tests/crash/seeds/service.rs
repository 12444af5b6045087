//! What the simulated service of a scenario publishes, and what goes wrong with it.

use std::time::Duration;

use auditferry::{
    ledger::Millis,
    simulator::{
        TenantProfile,
        faults::{
            AnswerFault, ContentFault, Disabled, Odd, Operation, Paging, PagingFault, TokenFault, TokenWrong, When,
            Wrong,
        },
    },
};
use jiff::Timestamp;

use super::{
    dice::Dice,
    plan::{DAY, Frame, HOUR, MINUTE, Plan},
};

fn time(millis: Millis) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// Tenants and their contents, with all that is odd about these.
pub fn publish(plan: &mut Plan, frame: &Frame, dice: &mut Dice) {
    let tenants = dice.pick(&[1, 1, 1, 2, 2, 3]);
    let backfill = if frame.long { dice.minutes(0, 2 * 1440) } else { dice.minutes(0, 240) };
    plan.start = dice.pick(&[Duration::ZERO, backfill / 2, backfill, backfill + Duration::from_secs(7200)]);
    let contents = frame.end - frame.begun + backfill.as_millis() as Millis;
    plan.profile.tenants = (0..tenants)
        .map(|number| {
            let least = (contents / MINUTE / 60).max(if frame.long { 60 } else { 5 }) as u64;
            let interval = dice.minutes(least, 2 * least + 10);
            TenantProfile {
                interval,
                backfill,
                records_per_content: dice.pick(&[1, 3, 8, 15, 24]) as u32,
                power_platform_per_mille: dice.pick(&[300, 700, 1000]),
                page_size: dice.pick(&[3, 5, 50]),
                keep: Duration::from_millis(dice.pick(&[6 * HOUR, 12 * HOUR, DAY, 7 * DAY, 7 * DAY]) as u64),
                token_seconds: dice.pick(&[3_599, 3_599, 900]),
                subscribed: if dice.percent(50) { vec!["Audit.General".into()] } else { Vec::new() },
                end: Some(time(frame.end)),
                ..TenantProfile::numbered(number)
            }
        })
        .collect();
    for tenant in &mut plan.profile.tenants {
        oddities(tenant, frame, dice);
    }
    let late =
        plan.profile.tenants.iter().flat_map(|tenant| &tenant.faults.contents).filter_map(|fault| match fault.odd {
            Odd::Late(by) => Some(by.as_millis() as Millis),
            _ => None,
        });
    plan.calm_at = plan.calm_at.max(frame.end + late.max().unwrap_or(0));
}

fn oddities(tenant: &mut TenantProfile, frame: &Frame, dice: &mut Dice) {
    let faults = &mut tenant.faults;
    let mut odd = |dice: &mut Dice, chance: u64, odd: Odd| {
        if dice.percent(chance) {
            let when = When::every(dice.span(2, 12));
            faults.contents.push(ContentFault { when, odd });
        }
    };
    let late = if frame.long { dice.minutes(5, 30 * 60) } else { dice.minutes(1, 5 * 60) };
    odd(dice, 30, Odd::Late(late));
    odd(dice, 10, Odd::Expired);
    odd(dice, 10, Odd::Empty);
    odd(dice, 10, Odd::NotJson);
    odd(dice, 20, Odd::BrokenRecord);
    odd(dice, 25, Odd::Differs);
    odd(dice, 20, Odd::Reordered);
    let repeats = Odd::Repeats { every: dice.span(1, 3) as u32, back: dice.span(1, 6) };
    odd(dice, 30, repeats);
    odd(dice, 20, Odd::Twice);
    odd(dice, 20, Odd::Panic);
    odd(dice, 15, Odd::SharedId);
    if dice.percent(6) {
        // more than one chunk
        let when = When::only(dice.span(1, 20));
        faults.contents.push(ContentFault { when, odd: Odd::Records(dice.span(300, 700) as u32) });
    }
    faults.odd_records = dice.percent(20);
    faults.repeat_before_window = dice.pick(&[0, 0, 2, 3]);
    for paging in [Paging::Overlap, Paging::LowerCase, Paging::V1, Paging::EndTime, Paging::NoStart, Paging::HeaderUrl]
    {
        if dice.percent(15) {
            faults.paging.push(PagingFault { when: When::every(dice.span(1, 4)), paging });
        }
    }
}

/// What goes wrong with its answers.
pub fn fail(plan: &mut Plan, frame: &Frame, dice: &mut Dice) {
    for number in 0..plan.profile.tenants.len() {
        for _ in 0..dice.below(5) {
            let (when, span) = occasion(frame, dice);
            let (on, wrong) = (operation(dice), wrong(dice));
            plan.until(span);
            plan.profile.tenants[number].faults.answers.push(AnswerFault { when, on, wrong });
        }
        for (chance, paging) in
            [(8, Paging::BadToken), (6, Paging::Loop), (6, Paging::Foreign("https://collector.example".into()))]
        {
            if dice.percent(chance) {
                let (when, span) = occasion(frame, dice);
                plan.until(span);
                plan.profile.tenants[number].faults.paging.push(PagingFault { when, paging });
            }
        }
        if dice.percent(20) {
            let (when, span) = occasion(frame, dice);
            let wrong = dice.pick(&[
                TokenWrong::Unavailable,
                TokenWrong::SecretExpired,
                TokenWrong::NoRoles,
                TokenWrong::ApiDisabled,
                TokenWrong::ShortLived(330),
            ]);
            plan.until(span);
            plan.profile.tenants[number].faults.tokens.push(TokenFault { when, wrong });
        }
        if dice.percent(20) {
            let mut times: Vec<Millis> = (0..dice.span(1, 2)).map(|_| frame.span(dice, 1, 2).0).collect();
            times.sort_unstable();
            plan.calm_at = plan.calm_at.max(times[times.len() - 1] + HOUR);
            let how = [Disabled::Gone, Disabled::ByTenantAdmin, Disabled::ByServiceAdmin];
            plan.profile.tenants[number].faults.disabled =
                times.into_iter().map(|at| (time(at), dice.pick(&how))).collect();
        }
    }
}

/// Either all the time for a while, or now and then.
fn occasion(frame: &Frame, dice: &mut Dice) -> (When, (Millis, Millis)) {
    if dice.percent(50) {
        let most = if frame.long { 2 * DAY } else { 4 * HOUR };
        let (from, until) = frame.span(dice, MINUTE, most);
        return (When::between(time(from), time(until)), (from, until));
    }
    let when = When { every: dice.span(2, 15), until: Some(time(frame.calm)), ..When::ALWAYS };
    (when, (frame.calm, frame.calm))
}

fn operation(dice: &mut Dice) -> Option<Operation> {
    let often =
        [Some(Operation::Blob), Some(Operation::Blob), Some(Operation::Contents), Some(Operation::Contents), None];
    let seldom = [Some(Operation::Subscriptions), Some(Operation::Start), Some(Operation::Token)];
    if dice.percent(80) { dice.pick(&often) } else { dice.pick(&seldom) }
}

fn wrong(dice: &mut Dice) -> Wrong {
    let bytes = dice.magnitude(1, 20_000);
    match dice.below(16) {
        0 => Wrong::Throttled { status: 429, retry_after: Some(dice.magnitude(1, 300)) },
        1 => Wrong::Throttled { status: 403, retry_after: None },
        2 => Wrong::Unauthorized,
        3 => Wrong::Internal,
        4 => Wrong::Status(503),
        5 => Wrong::Status(408),
        6 => Wrong::Html,
        7 => Wrong::SingleQuoted,
        8 => Wrong::ErrorIn200,
        9 => Wrong::Late(Duration::from_secs(dice.magnitude(1, 29))),
        10 => Wrong::Late(Duration::from_secs(3_600)),
        11 => Wrong::Cut(bytes),
        12 => Wrong::Stalled { after: bytes, pause: Duration::from_secs(dice.magnitude(1, 29)) },
        13 => Wrong::Stalled { after: bytes, pause: Duration::from_secs(3_600) },
        14 => Wrong::ContentType(None),
        _ => Wrong::Service {
            status: 403,
            code: "AF10001".into(),
            message: "The permission set () is not enough.".into(),
        },
    }
}

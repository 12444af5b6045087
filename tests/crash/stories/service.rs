//! The service refuses, throttles or misleads.

use std::{cell::Cell, sync::Arc, time::Duration};

use auditferry::{
    ledger::Millis,
    simulator::{
        Profile, TenantProfile,
        faults::{AnswerFault, Operation, Paging, PagingFault, When, Wrong},
    },
};

use super::{
    HOUR, MINUTE, after, arrived_once, calm, calm_tenant, live, live_until_settled, missing, published, stream,
    tenth_minute,
};
use crate::{
    checks,
    keeper::Keeper,
    stage::{SinkPlan, Stage},
};

#[test]
fn a_tenant_that_is_throttled_for_an_hour_does_not_harm_another() {
    let mut profile = calm(5 * MINUTE, HOUR);
    profile.tenants.push(TenantProfile { interval: 5 * MINUTE, backfill: HOUR, ..TenantProfile::numbered(2) });
    profile.tenants[1].power_platform_per_mille = calm_tenant().power_platform_per_mille;
    let (from, until) = (after(&profile, HOUR), after(&profile, 2 * HOUR));
    profile.tenants[0].faults.answers = vec![AnswerFault {
        when: When::between(from, until),
        on: None,
        wrong: Wrong::Throttled { status: 403, retry_after: None },
    }];
    let end = after(&profile, 3 * HOUR);
    for tenant in &mut profile.tenants {
        tenant.end = Some(end);
    }
    let mut stage = Stage::new(profile);
    stage.poll = MINUTE;
    let sinks = [SinkPlan::fake("siem")];
    let (from, until) = (from.as_millisecond(), until.as_millisecond());
    let looks = Cell::new(0);
    live(&mut stage, &sinks, 4 * HOUR, |stage| {
        let now = stage.now();
        let few = 3 * MINUTE.as_millis() as Millis;
        if now < from + few || now >= until {
            return;
        }
        looks.set(looks.get() + 1);
        let contents = published(stage);
        let due = contents.iter().filter(|content| content.tenant == 1 && content.created <= now - few);
        assert_eq!(missing(stage, "siem", due), Vec::<String>::new(), "the other tenant is late");
        let held: Vec<_> = contents.iter().filter(|it| it.tenant == 0 && it.created >= from + few).collect();
        assert_eq!(missing(stage, "siem", held.iter().copied()).len(), held.len(), "the throttled one can't have come");
        if now > from + 10 * few {
            let throttled = stage.activity.streams();
            let codes: Vec<_> = throttled.values().map(|stream| stream.code.as_deref()).collect();
            assert_eq!(codes, [Some("AF429"), None]);
        }
    });
    assert!(looks.get() > 50, "looked {} times", looks.get());
    let contents = published(&stage);
    assert!(contents.iter().any(|content| content.tenant == 0 && content.created > from && content.created < until));
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "siem");
}

#[test]
fn a_token_never_goes_to_a_foreign_origin_and_the_listing_is_completed_later() {
    let mut profile = calm(10 * MINUTE, HOUR);
    profile.tenants[0].page_size = 2;
    profile.tenants[0].end = Some(after(&profile, 2 * HOUR));
    let until = after(&profile, 3 * HOUR);
    profile.tenants[0].faults.paging = vec![PagingFault {
        when: When::between(profile.start, until),
        paging: Paging::Foreign("https://collector.example".into()),
    }];
    let mut stage = Stage::new(profile);
    let sinks = [SinkPlan::fake("siem")];
    live(&mut stage, &sinks, 3 * HOUR - 2 * MINUTE, |_| {});
    let contents = published(&stage);
    let held = missing(&stage, "siem", &contents);
    assert!(!held.is_empty() && held.len() < contents.len(), "the first page arrives, the others can't: {held:?}");
    let words = stream(&stage).error.expect("the trouble is said");
    assert!(words.contains("collector.example"), "{words}");
    live_until_settled(&mut stage, &sinks, HOUR, 2 * HOUR);
    assert_eq!(stage.simulator.lock().unwrap().leaked_tokens(), 0);
    let told: Vec<String> = stage.told.lock().unwrap().iter().cloned().collect();
    assert_eq!(told, ["https://manage.office.com"]);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
}

/// What broke off is gone on with: begun anew each time, the past would never be listed to its end.
#[test]
fn a_service_that_fails_at_every_fourth_request_is_listed_to_its_end_without_more_requests_than_that() {
    let mut profile = calm(30 * MINUTE, 48 * HOUR);
    profile.tenants[0].page_size = 3;
    profile.tenants[0].faults.answers = vec![AnswerFault {
        when: When::every(4),
        on: Some(Operation::Contents),
        wrong: Wrong::Throttled { status: 429, retry_after: Some(4) },
    }];
    let mut stage = Stage::new(profile);
    stage.start = 48 * HOUR;
    let keeper = Arc::new(Keeper::new(None, None));
    let sinks = [SinkPlan::fake("siem")];
    stage.live(&keeper, &sinks, 3 * HOUR, |_| false).unwrap();
    let past: Option<Millis> =
        checks::sql(&stage, "SELECT listed_past FROM stream WHERE origin = 'listed'", |row| row.get(0)).unwrap();
    let past = past.expect("the past was listed to its end");
    assert!(past > stage.now() - 2 * HOUR.as_millis() as Millis, "once an hour");
    let contents = published(&stage);
    assert_eq!(missing(&stage, "siem", contents.iter().filter(|it| it.created < past)), Vec::<String>::new());
    // 36 polls of two or three pages, and three or four times the 33 pages of the past; a quarter of all fails
    let requests = keeper.by_seam()["http: collect"];
    println!("{requests} requests for {} contents", contents.len());
    assert!(requests < 400, "{requests} requests");
}

/// A page that the service no longer knows, without saying so in its own words for that, holds nothing up for longer than three tries.
#[test]
fn a_next_page_that_the_service_never_answers_is_given_up_and_its_window_listed_anew() {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].page_size = 3;
    profile.tenants[0].end = Some(profile.start);
    profile.tenants[0].faults.paging = vec![PagingFault { when: When::only(1), paging: Paging::DeadToken }];
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    let sinks = [SinkPlan::fake("siem")];
    live(&mut stage, &sinks, 5 * MINUTE, |_| {});
    let contents = published(&stage);
    assert!(contents.len() > 30, "{} contents", contents.len());
    assert_eq!(missing(&stage, "siem", &contents), Vec::<String>::new());
    arrived_once(&stage, "siem");
}

/// Listings of one tenant in four hours, where `second` is another stream of it.
fn listings_beside(second: Option<&str>) -> u64 {
    let mut profile = calm(10 * MINUTE, HOUR);
    profile.tenants[0].end = Some(after(&profile, 3 * HOUR));
    let begun = profile.start.as_millisecond();
    let mut stage = Stage::new(profile);
    stage.content_types.extend(second.map(str::to_owned));
    let sinks = [SinkPlan::fake("siem")];
    live(&mut stage, &sinks, 4 * HOUR, |stage| {
        let (now, late) = (stage.now(), 7 * MINUTE.as_millis() as Millis);
        if now < begun + late {
            return;
        }
        let contents = published(stage);
        let due = contents.iter().filter(|content| content.created <= now - late);
        assert_eq!(missing(stage, "siem", due), Vec::<String>::new(), "the stream that works is late");
    });
    let failing: Vec<_> = stage.activity.streams().into_values().filter_map(|stream| stream.code).collect();
    assert_eq!(failing.len(), usize::from(second.is_some()), "{failing:?}");
    arrived_once(&stage, "siem");
    stage.simulator.lock().unwrap().requests(0, Operation::Contents)
}

/// `DLP.All` needs a permission of its own, so it fails for ever while the other stream of the tenant works.
#[test]
fn a_stream_that_fails_neither_delays_the_others_of_its_tenant_nor_has_them_listed_more_often() {
    let (alone, beside) = (listings_beside(None), listings_beside(Some("DLP.All")));
    println!("{alone} listings alone, {beside} beside a stream that fails");
    assert!(alone > 48, "every five minutes and once more each hour: {alone}");
    assert!(beside <= alone + 2, "{beside} listings beside a stream that fails, {alone} without it");
}

/// Starts against a service that refuses, looks at the words, has it put right, and sees everything arrive.
fn recovers(spoil: fn(&mut Profile), code: &str, words: &str, within: Duration) {
    let profile = calm(10 * MINUTE, HOUR);
    let mut stage = Stage::new(profile.clone());
    stage.service(spoil);
    let sinks = [SinkPlan::fake("siem")];
    let fixed = after(&profile, 2 * HOUR).as_millisecond();
    let right = profile.tenants[0].clone();
    let seen = Cell::new(0);
    live(&mut stage, &sinks, 4 * HOUR, |stage| {
        let now = stage.now();
        if now > profile.start.as_millisecond() && now < fixed {
            seen.set(seen.get() + 1);
            let said = stream(stage);
            assert_eq!(said.code.as_deref(), Some(code));
            // what the service itself said, with an id that changes, stands behind our own words
            let error = said.error.unwrap_or_default();
            assert_eq!(error.split("; it said: ").next(), Some(words));
            assert_eq!(said.listed_at, None);
        } else if (fixed..fixed + 60_000).contains(&now) {
            stage.service(|profile| profile.tenants[0] = right.clone());
        } else if tenth_minute(stage) && now > fixed + within.as_millis() as Millis {
            assert_eq!(stream(stage).error, None);
            let contents = published(stage);
            let due = contents.iter().filter(|content| content.created < now - 10 * 60_000);
            assert_eq!(missing(stage, "siem", due), Vec::<String>::new());
        }
    });
    assert!(seen.get() > 100);
    assert!(!stage.taken("siem").is_empty());
}

#[test]
fn a_wrong_secret_is_said_and_when_it_is_put_right_everything_arrives() {
    recovers(
        |profile| profile.tenants[0].secrets = vec!["another".into()],
        "AADSTS7000215",
        "getting a token failed: the client secret of app 6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11 is wrong; in Entra ID > App \
         registrations > Certificates & secrets create a secret and put its value (not its id) where `secret` of this \
         source points (AADSTS7000215, http 401 from https://manage.office.com",
        20 * MINUTE,
    );
}

#[test]
fn missing_consent_is_said_and_when_it_is_given_everything_arrives() {
    recovers(
        |profile| profile.tenants[0].roles.clear(),
        "AF10001",
        "listing subscriptions failed: the app 6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11 lacks a permission for this request; in \
         Entra ID > App registrations > API permissions add the application permission ActivityFeed.Read of Office 365 \
         Management APIs (for DLP.All also ActivityFeed.ReadDlp) and grant admin consent; it may take some minutes to \
         count (AF10001, http 401 from https://manage.office.com",
        20 * MINUTE,
    );
}

#[test]
fn auditing_switched_off_is_said_and_when_it_is_on_everything_arrives() {
    recovers(
        |profile| profile.tenants[0].audit = false,
        "AuditOff",
        "starting a subscription failed: the audit log of tenant 41463f53-8812-40f4-890f-865bf6e35190 is switched off, was \
         switched on less than an hour ago, or the tenant is in another cloud; run in Exchange Online PowerShell: \
         Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true and wait 60 minutes; auditferry tries again \
         every 15 to 30 minutes (AuditOff, http 400 from https://manage.office.com",
        35 * MINUTE,
    );
}

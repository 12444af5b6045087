//! What a service manager hears, on a paused clock.

use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::Instant;

use super::*;
use crate::world::{Clock, Gate};

/// Wall clock and sleep in virtual time.
struct Virtual(Instant);

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.elapsed().as_millis() as i64).expect("a time near 1970")
    }
    #[expect(clippy::disallowed_methods, reason = "the clock of this test")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await
    }
}

fn world() -> World {
    World {
        http: Arc::new(crate::world::http_client::ReqwestFactory),
        clock: Arc::new(Virtual(Instant::now())), // tidy: a paused clock
        random: Arc::new(crate::world::random::SystemRandom::new()),
        gate: Gate::default(),
    }
}

type Heard = Arc<Mutex<Vec<(u64, String)>>>;

/// What was said, with the second at which.
fn manager(world: &World, watchdog: Option<Duration>) -> (ServiceManager, Heard) {
    let heard = Heard::default();
    let (clock, list) = (Arc::clone(&world.clock), Arc::clone(&heard));
    let tell = move |states: &[String]| {
        let second = clock.now().as_second() as u64;
        list.lock().expect("whole").extend(states.iter().map(|state| (second, state.clone())));
        Ok(())
    };
    (ServiceManager { tell: Arc::new(tell), watchdog }, heard)
}

fn said(heard: &Heard, what: &str) -> Vec<u64> {
    heard.lock().expect("whole").iter().filter(|(_, state)| state == what).map(|(at, _)| *at).collect()
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_ends_the_beats_and_one_that_turns_again_brings_them_back() {
    let world = world();
    let activity = Activity::default();
    let (manager, heard) = manager(&world, Some(Duration::from_secs(60)));
    let script = async {
        world.clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(said(&heard, "READY=1"), [0; 0], "no loop has started");
        activity.pulse("fetch", 10_000, 20_000);
        activity.started(5_000);
        // turned at 10 s: alive until 310 s
        world.clock.sleep(Duration::from_secs(600)).await;
        activity.pulse("fetch", 610_000, 2_000_000);
        world.clock.sleep(Duration::from_secs(100)).await;
    };
    tokio::select! {
        biased;
        () = manager.keep_informed(&world, &activity) => unreachable!("it never returns"),
        () = script => {}
    }
    manager.stopping().await;
    assert_eq!(said(&heard, "READY=1"), [10]);
    let beats = said(&heard, "WATCHDOG=1");
    let expected: Vec<u64> = (10..=310).step_by(15).chain((625..=700).step_by(15)).collect();
    assert_eq!(beats, expected, "every quarter of the watchdog");
    assert_eq!(said(&heard, "STATUS=hung: fetch"), [325], "said once");
    assert_eq!(said(&heard, "STATUS=carrying events"), [10, 625]);
    assert_eq!(said(&heard, "STOPPING=1"), [710]);
}

#[tokio::test(start_paused = true)]
async fn without_a_watchdog_only_what_changes_is_said() {
    let world = world();
    let activity = Activity::default();
    let (manager, heard) = manager(&world, None);
    activity.started(0);
    for name in ["a", "b", "c", "d", "e"] {
        activity.sink(name, |sink| sink.error = Some("no route".into()));
    }
    activity.stream("t/Audit.General", |stream| stream.error = Some("401".into()));
    let script = async {
        world.clock.sleep(Duration::from_secs(100)).await;
        activity.ledger_error(Some("the ledger can't be written:\ndisk full".into()));
        world.clock.sleep(Duration::from_secs(100)).await;
    };
    tokio::select! {
        () = manager.keep_informed(&world, &activity) => unreachable!("it never returns"),
        () = script => {}
    }
    let heard: Vec<_> = heard.lock().expect("whole").clone();
    let expected = [
        (0, "READY=1"),
        (0, "STATUS=carrying events; failing sinks: a, b, c and 2 more; streams that can't be listed: 1"),
        (120, "STATUS=the ledger can't be written: disk full"),
    ];
    assert_eq!(heard, expected.map(|(at, state)| (at, state.to_string())));
}

/// A clock that a test sets.
struct Set(Instant, Mutex<i64>);

#[async_trait]
impl Clock for Set {
    fn now(&self) -> Timestamp {
        let set = *self.1.lock().expect("whole");
        Timestamp::from_millisecond(set + self.0.elapsed().as_millis() as i64).expect("a time near 1970")
    }
    #[expect(clippy::disallowed_methods, reason = "the clock of this test")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await
    }
}

/// Plays with a loop that turns every minute, or hangs; the seconds, counted by the true clock, at which the watchdog was fed.
async fn beats(hangs: bool, jump: i64) -> Vec<u64> {
    let begun = Instant::now(); // tidy: a paused clock
    let clock = Arc::new(Set(begun, Mutex::new(1_000_000_000)));
    let world = World { clock: clock.clone(), ..world() };
    let activity = Activity::default();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&heard);
    let tell = move |states: &[String]| {
        if states.iter().any(|state| state == "WATCHDOG=1") {
            list.lock().expect("whole").push(begun.elapsed().as_secs());
        }
        Ok(())
    };
    let manager = ServiceManager { tell: Arc::new(tell), watchdog: Some(Duration::from_secs(60)) };
    let script = async {
        let turn = || {
            let now = millis(&world);
            activity.pulse("fetch", now, now + 60_000);
        };
        turn();
        activity.started(millis(&world));
        for minute in 1..20 {
            world.clock.sleep(Duration::from_secs(60)).await;
            if minute == 3 {
                *clock.1.lock().expect("whole") += jump;
                // the loop sleeps on for a while: it does not know
                world.clock.sleep(Duration::from_secs(40)).await;
            }
            if !hangs || minute < 3 {
                turn();
            }
        }
    };
    tokio::select! {
        () = manager.keep_informed(&world, &activity) => unreachable!("it never returns"),
        () = script => {}
    }
    std::mem::take(&mut *heard.lock().expect("whole"))
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_ends_no_agent_that_lives_and_keeps_none_that_hangs() {
    const HOURS: i64 = 5 * 3_600_000;
    for jump in [0, HOURS, -HOURS] {
        let alive = beats(false, jump).await;
        let longest = alive.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(30) && alive.last() > Some(&1150), "set by {jump} ms: {alive:?}");
        let last = beats(true, jump).await.last().copied();
        // it turned last at 120 s, and the clock was set at 180 s: ahead, and it looks old as soon as it is not believed any more
        assert!((240..=520).contains(&last.unwrap_or_default()), "set by {jump} ms: {last:?}");
    }
}

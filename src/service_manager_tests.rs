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
        activity.started(5_000, 0);
        // turned at 10 s: alive until 310 s
        world.clock.sleep(Duration::from_secs(600)).await;
        activity.pulse("fetch", 610_000, 2_000_000);
        world.clock.sleep(Duration::from_secs(100)).await;
    };
    tokio::select! {
        () = manager.keep_informed(&world, &activity) => unreachable!("it never returns"),
        () = script => {}
    }
    manager.stopping().await;
    assert_eq!(said(&heard, "READY=1"), [10]);
    let beats = said(&heard, "WATCHDOG=1");
    assert_eq!(
        beats,
        [10, 40, 70, 100, 130, 160, 190, 220, 250, 280, 310, 640, 670, 700],
        "every half of the watchdog"
    );
    assert_eq!(said(&heard, "STATUS=hung: fetch"), [340], "said once");
    assert_eq!(said(&heard, "STATUS=carrying events"), [10, 640]);
    assert_eq!(said(&heard, "STOPPING=1"), [710]);
}

#[tokio::test(start_paused = true)]
async fn without_a_watchdog_only_what_changes_is_said() {
    let world = world();
    let activity = Activity::default();
    let (manager, heard) = manager(&world, None);
    activity.started(0, 0);
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

//! Under a clock that is turned, with a collector of a few lines.

use std::{collections::BTreeSet, sync::atomic::AtomicUsize, sync::atomic::Ordering, task::Poll};

use super::*;

/// Answers of the collector, and what it was asked.
#[derive(Default)]
struct Asked {
    indexed: Mutex<BTreeSet<u64>>,
    questions: Mutex<Vec<(u64, Vec<u64>)>>,
    fail: AtomicUsize,
    /// Questions that are on their way.
    running: AtomicUsize,
}

fn acks(interval: Duration, takes: Duration) -> (Arc<Acks>, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let (state, begun) = (asked.clone(), Instant::now());
    let ask = move |numbers: Vec<u64>| -> Question {
        let state = state.clone();
        state.questions.lock().expect("a lock").push((begun.elapsed().as_millis() as u64, numbers.clone()));
        state.running.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            sleep_until(Instant::now() + takes).await;
            state.running.fetch_sub(1, Ordering::SeqCst);
            if state.fail.swap(0, Ordering::SeqCst) > 0 {
                return Err(SinkError::retry("the answer was lost"));
            }
            // as Splunk: a `true` is told once
            let mut indexed = state.indexed.lock().expect("a lock");
            Ok(numbers.into_iter().filter(|n| indexed.remove(n)).collect())
        })
    };
    (Acks::new(interval, Box::new(ask)), asked)
}

impl Asked {
    fn index(&self, number: u64) {
        self.indexed.lock().expect("a lock").insert(number);
    }

    fn questions(&self) -> Vec<(u64, Vec<u64>)> {
        self.questions.lock().expect("a lock").clone()
    }
}

const INTERVAL: Duration = Duration::from_secs(10);
const QUICK: Duration = Duration::from_millis(5);

type Waits<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + 'a>>;

async fn poll_all(calls: &mut [Option<Waits<'_>>]) {
    std::future::poll_fn(|context| {
        for running in calls.iter_mut().flatten() {
            assert!(running.as_mut().poll(context).is_pending(), "nothing can have ended yet");
        }
        Poll::Ready(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_question_asks_for_all_and_the_pauses_double_to_the_interval() {
    let (acks, asked) = acks(INTERVAL, Duration::ZERO);
    let tickets: Vec<_> = (0..3).map(|n| acks.register(n, None).expect("free")).collect();
    asked.index(0);
    asked.index(2);
    assert_eq!(tickets[2].indexed().await, Ok(()));
    assert_eq!(tickets[0].indexed().await, Ok(()));
    drop(tickets);
    assert_eq!(asked.questions(), [(1000, vec![0, 1, 2])]);

    let begun = Instant::now();
    let never = acks.register(9, None).expect("free");
    let error = never.indexed().await.expect_err("it never is");
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
    assert_eq!(begun.elapsed(), GIVE_UP);
    let times: Vec<_> = asked.questions()[1..].iter().map(|(at, _)| at - 1000).collect();
    assert_eq!(times[..7], [1000, 3000, 7000, 15_000, 25_000, 35_000, 45_000]);
    assert!((30..=34).contains(&times.len()), "{} questions in 5 min", times.len());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_indexed_does_not_hold_up_the_others() {
    let (acks, asked) = acks(INTERVAL, QUICK);
    let (late, soon) = (acks.register(1, None).expect("free"), acks.register(2, None).expect("free"));
    let begun = Instant::now();
    asked.index(2);
    let (soon, _) = tokio::join!(
        async {
            let answer = soon.indexed().await;
            (answer, begun.elapsed())
        },
        // the first of the two drives
        tokio::time::timeout(Duration::from_secs(60), late.indexed()),
    );
    assert_eq!(soon, (Ok(()), Duration::from_millis(1005)));
}

#[tokio::test(start_paused = true)]
async fn a_call_abandoned_at_any_point_leaves_the_question_to_the_next() {
    // before the question, in the middle of it, and after
    for abandon in [1, 500, 1000, 1002, 1004] {
        let (acks, asked) = acks(INTERVAL, QUICK);
        let tickets: Vec<_> = (0..4).map(|n| acks.register(n, None).expect("free")).collect();
        (0..4).for_each(|n| asked.index(n));
        let mut calls: Vec<Option<Waits<'_>>> =
            tickets.iter().map(|ticket| Some(Box::pin(ticket.indexed()) as Waits<'_>)).collect();
        let begun = Instant::now();
        for ms in 1..=abandon {
            poll_all(&mut calls).await;
            sleep_until(begun + Duration::from_millis(ms)).await;
        }
        // whoever drove is gone; a `true` that it was about to hear is not
        calls[0] = None;
        for call in calls.iter_mut().flatten() {
            assert_eq!(call.as_mut().await, Ok(()), "abandoned after {abandon} ms");
        }
        assert_eq!(asked.questions().len(), 1, "abandoned after {abandon} ms: asked again");
        assert!(begun.elapsed() <= Duration::from_millis(1010), "abandoned after {abandon} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn all_calls_may_be_abandoned_and_later_ones_still_hear() {
    let (acks, asked) = acks(INTERVAL, Duration::from_secs(3));
    let first = acks.register(1, None).expect("free");
    assert!(tokio::time::timeout(Duration::from_secs(2), first.indexed()).await.is_err());
    assert_eq!(asked.running.load(Ordering::SeqCst), 1, "the question is on its way");
    drop(first);
    let second = acks.register(2, None).expect("free");
    asked.index(2);
    assert_eq!(second.indexed().await, Ok(()));
    let numbers: Vec<_> = asked.questions().into_iter().map(|(_, numbers)| numbers).collect();
    assert_eq!(numbers, [vec![1], vec![2]]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_fails_whom_it_was_for_and_nobody_else() {
    let (acks, asked) = acks(INTERVAL, Duration::from_secs(2));
    asked.fail.store(1, Ordering::SeqCst);
    let (first, second) = (acks.register(1, None).expect("free"), acks.register(2, None).expect("free"));
    let later = async {
        // while the question is on its way
        sleep_until(Instant::now() + Duration::from_secs(2)).await;
        asked.index(3);
        acks.register(3, None).expect("free").indexed().await
    };
    let (first, second, later) = tokio::join!(first.indexed(), second.indexed(), later);
    for lost in [first, second] {
        assert!(matches!(lost, Err(SinkError::Retry { .. })), "{lost:?}");
    }
    assert_eq!(later, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn one_number_twice_is_nobodys_acknowledgement() {
    let (acks, asked) = acks(INTERVAL, QUICK);
    let first = acks.register(1, None).expect("free");
    asked.index(1);
    let mut waits = Box::pin(first.indexed());
    assert!(tokio::time::timeout(QUICK, &mut waits).await.is_err());
    assert!(matches!(acks.register(1, None), Err(SinkError::Retry { .. })), "a second batch under the same number");
    assert!(matches!(waits.await, Err(SinkError::Retry { .. })), "the first is in doubt, too");
    drop(first);
    // a number that nobody waits for may come again: the collector was started anew
    assert_eq!(acks.register(1, None).expect("free").indexed().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn when_splunk_counts_anew_what_waits_goes_out_again() {
    let (acks, asked) = acks(INTERVAL, QUICK);
    let old: Vec<_> = [40, 41, 38].map(|number| acks.register(number, None).expect("a new number")).into();
    let new = acks.register(3, acks.highest()).expect("a new number");
    for ticket in &old {
        let error = ticket.indexed().await.expect_err("nobody knows what became of it");
        assert!(error.to_string().contains("started anew"), "{error}");
    }
    asked.index(3);
    new.indexed().await.expect("it counts from here");
}

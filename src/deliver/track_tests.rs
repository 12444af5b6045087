//! What is remembered ahead of the ledger.

use std::sync::Arc;

use super::*;

fn started(records: i64) -> (Tracks, Vec<Key>) {
    let mut tracks = Tracks::default();
    assert_eq!(tracks.admit(7, 0, 0, 0), Admitted::Yes);
    let keys = (0..records).map(|position| tracks.start(7, position, None).unwrap()).collect();
    (tracks, keys)
}

fn front(tracks: &Tracks, hold: bool) -> Option<(i64, u64, u64)> {
    let (progress, _) = tracks.ready(hold, 100);
    progress.first().map(|step| (step.to, step.delivered, step.quarantined))
}

#[test]
fn only_what_has_no_hole_before_it_is_confirmed_and_nothing_behind_it_is_sent_twice() {
    let (mut tracks, keys) = started(4);
    tracks.taken(keys[2]);
    assert_eq!(front(&tracks, false), None);
    tracks.taken(keys[0]);
    assert_eq!(front(&tracks, false), Some((1, 1, 0)));
    tracks.back(keys[1], |_| {});
    assert_eq!(tracks.want(7, 1, 0, false, true), Want::Yes { cap: 0, group: 0 });
    assert_eq!(tracks.want(7, 2, 0, false, true), Want::No);
    let again = tracks.start(7, 1, None).unwrap();
    tracks.taken(again);
    assert_eq!(front(&tracks, false), Some((3, 3, 0)));
}

#[test]
fn a_refusal_that_is_held_ends_the_front_and_a_pardoned_one_goes_out_alone() {
    let (mut tracks, keys) = started(3);
    tracks.taken(keys[0]);
    assert!(tracks.refuse(keys[1], &Arc::from("no such field")));
    tracks.taken(keys[2]);
    assert_eq!(front(&tracks, true), Some((1, 1, 0)));
    assert_eq!(front(&tracks, false), Some((3, 2, 1)));
    assert_eq!(&*tracks.ready(false, 100).1[0].words, "no such field");
    tracks.pardon(5000, 3);
    assert_eq!(tracks.want(7, 1, 4999, false, true), Want::No);
    assert_eq!(tracks.want(7, 1, 5000, false, true), Want::Yes { cap: 1, group: 0 });
    assert_eq!(tracks.want(7, 1, 4999, true, true), Want::Yes { cap: 1, group: 0 });
}

#[test]
fn what_is_too_large_is_never_held() {
    let (mut tracks, keys) = started(1);
    tracks.too_large(7, 1, "no form fits".into());
    tracks.taken(keys[0]);
    assert_eq!(front(&tracks, true), Some((2, 1, 1)));
}

#[test]
fn a_late_answer_for_a_content_that_was_forgotten_settles_nothing_of_its_successor() {
    let (mut tracks, keys) = started(2);
    tracks.forget(7);
    assert_eq!(tracks.positions(), 0);
    assert_eq!(tracks.admit(7, 1, 0, 0), Admitted::Yes);
    let new = tracks.start(7, 0, None).unwrap();
    assert!(!tracks.taken(keys[0]));
    assert_eq!(front(&tracks, false), None);
    assert!(tracks.taken(new));
}

#[test]
fn what_was_read_before_the_ledger_moved_on_is_read_again() {
    let mut tracks = Tracks::default();
    assert_eq!(
        tracks.admit(7, 0, 2, 5),
        Admitted::Again,
        "the read began behind the progress, and nobody remembers why"
    );
    assert_eq!(tracks.admit(7, 0, 2, 2), Admitted::Yes);
    let key = tracks.start(7, 2, None).unwrap();
    assert_eq!(tracks.admit(7, 0, 3, 3), Admitted::Again, "its confirmation is committed, and was not heard of yet");
    assert_eq!(tracks.positions(), 1, "and nothing is forgotten for that");
    assert_eq!(tracks.admit(7, 1, 0, 0), Admitted::Later, "another body, and something of the first is out");
    tracks.back(key, |_| {});
    assert_eq!(tracks.admit(7, 1, 0, 0), Admitted::Yes, "nobody waits for the first one any more");
    assert_eq!((tracks.positions(), tracks.history(key)), (0, None));
}

#[test]
fn what_waits_in_a_body_that_is_gone_waits_for_nothing() {
    let (mut tracks, keys) = started(2);
    tracks.back(keys[0], |_| {});
    assert_eq!(tracks.due(0, false), [7]);
    assert!(!tracks.gone(&[7], 0), "the other one is out");
    assert_eq!(
        (tracks.due(999, false), tracks.due(1_000, false)),
        (vec![], vec![7]),
        "it is not looked for again at once"
    );
    tracks.taken(keys[1]);
    assert!(tracks.gone(&[7], 0));
    assert_eq!((tracks.next_due(), tracks.positions()), (None, 0));
}

#[test]
fn with_the_memory_full_only_what_is_in_it_goes_out() {
    let (mut tracks, keys) = started(1);
    tracks.back(keys[0], |_| {});
    assert_eq!(tracks.want(7, 0, 0, false, false), Want::Yes { cap: 0, group: 0 });
    assert_eq!(tracks.want(7, 1, 0, false, false), Want::No);
    assert_eq!(tracks.want(7, 1, 0, false, true), Want::Yes { cap: 0, group: 0 });
}

#[test]
fn confirmed_positions_cost_no_memory() {
    let (mut tracks, keys) = started(3);
    keys.iter().take(2).for_each(|key| {
        tracks.taken(*key);
    });
    let (progress, _) = tracks.ready(false, 100);
    tracks.confirmed(&progress[0], false);
    assert_eq!(tracks.positions(), 1);
    assert_eq!(tracks.begun(0, false), [(7, 3)]);
    tracks.taken(keys[2]);
    let (progress, _) = tracks.ready(false, 100);
    assert_eq!((progress[0].from, progress[0].to), (2, 3));
    tracks.confirmed(&progress[0], false);
    assert_eq!((tracks.positions(), tracks.begun(0, false)), (0, vec![]));
}

#[test]
fn what_was_made_before_a_confirmation_is_waited_for_when_it_goes_out_after_it() {
    let (mut tracks, keys) = started(1);
    tracks.taken(keys[0]);
    let (progress, _) = tracks.ready(false, 100);
    tracks.confirmed(&progress[0], true);
    let key = tracks.start(7, 1, None).expect("the content is known still");
    assert!(tracks.taken(key), "else it would go out again");
    let (progress, _) = tracks.ready(false, 100);
    assert_eq!((progress[0].from, progress[0].to), (1, 2));
    tracks.confirmed(&progress[0], false);
    assert_eq!(tracks.begun(0, false), []);
}

#[test]
fn what_is_confirmed_of_a_body_that_was_dropped_forgets_nothing_of_the_next_one() {
    let (mut tracks, keys) = started(1);
    assert!(tracks.refuse(keys[0], &"no such field".into()));
    let (progress, _) = tracks.ready(false, 100);
    assert_eq!(tracks.admit(7, progress[0].generation + 1, 0, 0), Admitted::Yes);
    let key = tracks.start(7, 0, None).expect("it is the next");
    tracks.refuted(&progress[0]);
    assert!(tracks.taken(key), "else it would go out again");
    let (next, _) = tracks.ready(false, 100);
    tracks.refuted(&next[0]);
    assert_eq!((tracks.positions(), tracks.begun(0, false)), (0, vec![]));
}

#[test]
fn a_clock_set_back_by_a_day_keeps_nothing_waiting() {
    let (mut tracks, keys) = started(1);
    let day = 24 * 3_600_000;
    tracks.back(keys[0], |history| history.retry_at = day + 1000);
    assert_eq!(tracks.want(7, 0, day, false, true), Want::No);
    assert_eq!(tracks.want(7, 0, 0, false, true), Want::Yes { cap: 0, group: 0 });
}

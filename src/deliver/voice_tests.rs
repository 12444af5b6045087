use super::*;

const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;
/// 12:00 UTC.
const NOON: Millis = 20_000 * 86_400_000 + 12 * 3_600_000;

fn words(lines: impl IntoIterator<Item = Line>) -> Vec<String> {
    lines.into_iter().map(|line| line.words).collect()
}

fn fails(voice: &mut Voice, cause: &str, now: Millis) -> Vec<String> {
    words(voice.failed(false, cause, Duration::from_secs(2), now))
}

#[test]
fn an_outage_is_a_line_when_it_begins_counts_while_it_lasts_and_a_line_when_it_ends() {
    let mut voice = Voice::default();
    assert_eq!(words(voice.takes(NOON)), ["takes events"]);
    assert_eq!(words(voice.takes(NOON + SECOND)), [] as [&str; 0]);
    assert_eq!(fails(&mut voice, "no route", NOON + MINUTE), ["not taken: no route; tried again in 2 s"]);
    for n in 1..30 {
        assert_eq!(fails(&mut voice, "no route", NOON + MINUTE + n * SECOND), [] as [&str; 0]);
    }
    assert_eq!(words(voice.due(NOON + 2 * MINUTE)), ["not taken: no route … and 29 more since 12:01 UTC"]);
    assert_eq!(words(voice.takes(NOON + 3 * MINUTE)), ["takes events again; it had failed 30 times since 12:01 UTC"]);
    assert_eq!(words(voice.due(NOON + 3 * MINUTE + QUIET)), [] as [&str; 0]);
}

#[test]
fn another_cause_and_a_block_are_told_at_once() {
    let mut voice = Voice::default();
    assert_eq!(fails(&mut voice, "no route", NOON).len(), 1);
    assert_eq!(fails(&mut voice, "busy", NOON + SECOND).len(), 1);
    let blocked = voice.failed(true, "no such token", Duration::from_secs(60), NOON + 2 * SECOND).unwrap();
    assert_eq!(blocked.level, Level::ERROR);
    assert_eq!(blocked.words, "blocked, a person must act: no such token; tried again in 60 s");
    assert_eq!(words(voice.takes(NOON + 3 * SECOND)), ["takes events again; it had failed 3 times since 12:00 UTC"]);
}

#[test]
fn a_sink_that_flaps_with_the_same_words_is_folded_and_its_next_change_is_said() {
    let mut voice = Voice::default();
    let mut said = Vec::new();
    for n in 0..60 {
        let now = NOON + n * 2 * SECOND;
        said.extend(fails(&mut voice, "reset", now));
        said.extend(words(voice.due(now + SECOND)));
        said.extend(words(voice.takes(now + SECOND)));
    }
    let expected = [
        "not taken: reset; tried again in 2 s",
        "takes events again; it had failed at 12:00 UTC",
        "not taken: reset; tried again in 2 s … and 30 more since 12:00 UTC",
        "takes events again; it had failed at 12:01 UTC",
    ];
    assert_eq!(said, expected);
    // now it stays away: the log must not say that it takes
    said = fails(&mut voice, "reset", NOON + 121 * SECOND);
    said.extend(words(voice.due(NOON + 179 * SECOND)));
    assert_eq!(said, [""; 0], "a minute is no time");
    said.extend(words(voice.due(NOON + 180 * SECOND)));
    said.extend(words(voice.takes(NOON + 190 * SECOND)));
    assert_eq!(
        said,
        ["not taken: reset … and 30 more since 12:00 UTC", "takes events again; it had failed at 12:02 UTC"]
    );
}

#[test]
fn refusals_fold_by_cause_and_end_with_their_number() {
    let mut voice = Voice::default();
    let mut said = Vec::new();
    for n in 0..121 {
        said.extend(words(voice.refused("no such field", NOON + n * SECOND / 4)));
        said.extend(words(voice.quarantined(2, NOON + n * SECOND / 4)));
    }
    said.extend(words(voice.refused("too long", NOON + MINUTE / 2)));
    for minute in 1..=60 {
        said.extend(words(voice.due(NOON + minute * MINUTE)));
    }
    let expected = [
        "refused: no such field",
        "2 records went to quarantine: see `auditferry quarantine list`",
        "refused: too long",
        "refused: no such field … and 120 more since 12:00 UTC",
        "240 more records went to quarantine since 12:00 UTC: see `auditferry quarantine list`",
        "over: not any more for 20 min, 121 in all since 12:00 UTC: refused: no such field",
        "over: not any more for 20 min, 242 in all since 12:00 UTC: records went to quarantine",
    ];
    assert_eq!(said, expected);
}

#[test]
fn words_that_are_all_different_make_no_line_each() {
    let mut voice = Voice::default();
    let said: usize = (0..1000).filter_map(|n| voice.refused(&format!("event {n} is invalid"), NOON)).count();
    assert!(said < 20, "{said} lines");
    let rest = words(voice.rest(NOON));
    assert_eq!(rest, [format!("refused: each time in other words … and {} more since 12:00 UTC", 1000 - said)]);
}

#[test]
fn a_ledger_that_fails_for_a_while_is_a_line_and_its_end_another() {
    let mut voice = Voice::default();
    assert_eq!(words(voice.ledger_works()), [] as [&str; 0]);
    assert_eq!(words(voice.ledger_fails("the disk is full", NOON)), ["the disk is full"]);
    assert_eq!(words(voice.ledger_fails("the disk is full", NOON + SECOND)), [] as [&str; 0]);
    assert_eq!(words(voice.ledger_works()), ["the ledger can be written again"]);
    assert_eq!(words(voice.ledger_works()), [] as [&str; 0]);
}

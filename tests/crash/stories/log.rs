//! What an operator reads in the log: every change of a sink once, and nothing that repeats fills it.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use auditferry::simulator::faults::{AnswerFault, Operation, When, Wrong};
use tracing::Dispatch;

use super::{HOUR, MINUTE, after, calm, live, live_until_settled};
use crate::{
    sinks::{Poison, Says},
    stage::{SinkPlan, Stage},
};

/// What was logged, a line each, without times.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Takes all lines.
    fn all(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Takes the lines about this sink.
    fn take(&self, sink: &str) -> Vec<String> {
        let end = format!(" sink=\"{sink}\"");
        self.all().iter().filter_map(|line| line.strip_suffix(&end)).map(str::to_owned).collect()
    }
}

/// Runs with this thread's log caught.
fn logged(run: impl FnOnce(&Log)) {
    // with one subscriber alone, tracing asks the thread that comes first to a line whether anybody wants it: another test's, which has none, and
    // the line is off for all
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish())));
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || run(&log));
}

fn stage() -> Stage {
    let mut profile = calm(MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, 4 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage
}

fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

#[test]
fn hundreds_of_refusals_are_a_few_lines_with_their_number_and_one_when_they_are_over() {
    logged(|log| {
        let mut stage = stage();
        let plan = SinkPlan::fake("siem");
        stage.destination("siem").poison(Some(Poison { every: 16, says: Says::Which }));
        live(&mut stage, std::slice::from_ref(&plan), 4 * HOUR, |_| {});
        let refused = stage.destinations["siem"].failures.load(std::sync::atomic::Ordering::Relaxed) as usize;
        assert!(refused > 400, "{refused} refusals");
        let lines = log.take("siem");
        assert_eq!(count(&lines, "takes events"), 1, "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.ends_with("refused: no such field")).count(), 1, "{lines:#?}");
        assert!(lines.len() < 40, "{lines:#?}");
        // nothing is left out of the count
        let more =
            lines.iter().filter_map(|line| line.split_once("refused: no such field … and ")?.1.split(' ').next());
        let more: usize = more.map(|number| number.parse::<usize>().unwrap()).sum();
        assert_eq!(1 + more, refused);
    });
}

#[test]
fn each_change_of_a_sink_is_one_line_however_often_it_is_tried() {
    logged(|log| {
        let mut stage = stage();
        let plan = SinkPlan::fake("siem");
        let destination = stage.destination("siem");
        let begun = stage.now();
        live(&mut stage, std::slice::from_ref(&plan), 5 * HOUR, |stage| {
            let hour = (stage.now() - begun) / 3_600_000;
            destination.block(hour == 1);
            destination.poison((hour == 3).then_some(Poison { every: 1, says: Says::Retry }));
        });
        let lines = log.take("siem");
        let tries = destination.failures.load(std::sync::atomic::Ordering::Relaxed) as usize;
        assert!(tries > 15, "{tries} failures");
        let states: Vec<&str> = lines
            .iter()
            .filter(|line| !line.contains(" more since "))
            .map(|line| line.split(&[';', ':'][..]).next().unwrap().trim())
            .collect();
        let expected = [
            "INFO takes events",
            "ERROR blocked, a person must act",
            "INFO takes events again",
            "WARN not taken",
            "INFO takes events again",
        ];
        assert_eq!(states, expected, "{lines:#?}");
        assert!(lines.len() < 20, "{lines:#?}");
    });
}

#[test]
fn a_sink_that_is_gone_and_owed_nothing_is_named_every_hour_while_its_quarantine_holds_something() {
    logged(|log| {
        let mut stage = stage();
        let plan = SinkPlan::fake("siem");
        stage.destination("siem").poison(Some(Poison { every: 16, says: Says::Which }));
        live_until_settled(&mut stage, std::slice::from_ref(&plan), 5 * HOUR, 6 * HOUR);
        log.take("siem");
        live(&mut stage, &[SinkPlan::fake("lake")], 3 * HOUR, |_| {});
        let lines = log.take("siem");
        assert!((3..=4).contains(&lines.len()), "{lines:#?}");
        for line in lines {
            let line = line.trim();
            assert!(line.starts_with("WARN is gone from the configuration, and has "), "{line}");
            assert!(line.ends_with(
                " KiB of refused records in its quarantine; put it back under its name, or end it with `auditferry retire-sink`"
            ));
        }
    });
}

#[test]
fn an_outage_of_the_service_is_its_first_line_counts_and_its_end() {
    logged(|log| {
        let mut stage = stage();
        let (from, until) = {
            let profile = stage.simulator.lock().unwrap();
            (after(profile.profile(), HOUR), after(profile.profile(), 3 * HOUR))
        };
        let fault = |on| AnswerFault { when: When::between(from, until), on: Some(on), wrong: Wrong::Status(503) };
        stage.simulator.lock().unwrap().profile_mut().tenants[0].faults.answers = vec![fault(Operation::Contents)];
        live(&mut stage, &[SinkPlan::fake("siem")], 4 * HOUR, |_| {});
        let lines = log.all();
        let about: Vec<_> = lines.iter().filter(|line| line.contains("503") || line.contains("listing ")).collect();
        let first = about.iter().filter(|line| line.starts_with("ERROR") && !line.contains(" more since ")).count();
        assert_eq!(first, 1, "{about:#?}");
        let over: Vec<_> = about.iter().filter(|line| line.contains("listing works again")).collect();
        assert!(
            over.len() == 1 && over[0].contains("; it had failed ") && over[0].contains(" times since "),
            "{over:?}"
        );
        assert!((4..12).contains(&about.len()), "two hours: the first, some counts, the end: {about:#?}");
    });
}

#[test]
fn hundreds_of_bodies_that_can_not_be_fetched_are_a_few_lines() {
    logged(|log| {
        let mut stage = stage();
        let start = stage.simulator.lock().unwrap().profile().start;
        let until = after(stage.simulator.lock().unwrap().profile(), 2 * HOUR);
        let wrong = Wrong::Status(503);
        stage.simulator.lock().unwrap().profile_mut().tenants[0].faults.answers =
            vec![AnswerFault { when: When::between(start, until), on: Some(Operation::Blob), wrong }];
        live(&mut stage, &[SinkPlan::fake("siem")], 4 * HOUR, |_| {});
        let lines: Vec<_> = log.all().into_iter().filter(|line| line.contains("503")).collect();
        let failures: u64 = stage.activity.fetch_failures().values().sum();
        assert!(failures > 300, "{failures} failures");
        assert!((3..15).contains(&lines.len()), "{failures} failures in {} lines: {lines:#?}", lines.len());
        assert_eq!(count(&lines, "tried again until it expires"), 1, "{lines:#?}");
        let over = format!("INFO over: not any more for 20 min, {failures} in all since ");
        assert_eq!(lines.iter().filter(|line| line.starts_with(&over)).count(), 1, "nothing is left out: {lines:#?}");
    });
}

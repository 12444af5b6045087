//! The fake receivers as a program: what a SIEM would have got from the agent, what is missing, what came twice.
//!
//! `cargo run -p auditferry-conformance --bin receivers -- --hec 127.0.0.1:8088 --syslog 127.0.0.1:6514` prints sinks for the
//! agent's configuration, counts what arrives, and compares when it is told to end (Ctrl-C, SIGTERM, `--for`).
//!
//! Exit codes: 0 everything is everywhere, 1 something is missing, 2 it can't start.

mod expected;
mod options;
mod receiver;
mod report;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{expected::Files, options::Options, receiver::Receivers, report::Report};

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime can't start: {error}")),
    };
    match runtime.block_on(run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(words) => fail(&words),
    }
}

fn fail(words: &str) -> ExitCode {
    eprintln!("receivers: {words}");
    ExitCode::from(2)
}

/// Says so on standard output; whoever reads it may be gone, and the receivers go on.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// True when nothing is missing.
async fn run(options: &Options) -> Result<bool, String> {
    let wrong = |error: std::io::Error| format!("signals can't be taken: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
    let mut away = signal(SignalKind::user_defined1()).map_err(wrong)?;
    let mut back = signal(SignalKind::user_defined2()).map_err(wrong)?;
    let receivers = Receivers::start(options).await?;
    let mut files = Files::new(&options.expect);
    say(&if options.json { receivers.listening() } else { receivers.words() });

    let start = Instant::now();
    let mut end = std::pin::pin!(until(options.end.map(|end| end.0)));
    let mut tick = interval_at(start + Duration::from_secs(1), Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut end => break,
            _ = away.recv() => receivers.refuse(true),
            _ = back.recv() => receivers.refuse(false),
            _ = tick.tick() => watch.tick(options, &receivers, &mut files)?,
        }
    }
    receivers.settle();
    files.read()?;
    let report = Report::new(&receivers, &files);
    if let Some(path) = &options.report {
        report.write(path)?;
    }
    say(&if options.json { report.json() } else { report.table() });
    Ok(report.complete())
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, with a clock of its own")]
async fn until(end: Option<Duration>) {
    match end {
        Some(end) => tokio::time::sleep(end).await,
        None => std::future::pending().await,
    }
}

/// What is done every second, or seldom enough not to be felt.
#[derive(Default)]
struct Watch {
    seconds: u64,
    said: String,
    next_report: u64,
    reported: Option<String>,
}

impl Watch {
    fn tick(&mut self, options: &Options, receivers: &Receivers, files: &mut Files) -> Result<(), String> {
        self.seconds += 1;
        if self.seconds.is_multiple_of(5) {
            let line = receivers.line();
            // silence while nothing comes
            if line != self.said {
                eprintln!("{line}");
                self.said = line;
            }
        }
        let Some(path) = &options.report else { return Ok(()) };
        if self.seconds < self.next_report {
            return Ok(());
        }
        let start = Instant::now();
        files.read()?;
        let state = format!("{} {}", receivers.line(), files.line());
        if self.reported.as_ref() != Some(&state) {
            Report::new(receivers, files).write(path)?;
            self.reported = Some(state);
        }
        // after millions of events a comparison takes its time: it gets a tenth of it
        self.next_report = self.seconds + 1 + 10 * start.elapsed().as_secs_f32() as u64;
        Ok(())
    }
}

//! The suite of every sink against the standard output of this process, which is turned to a file or a broken pipe.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};

use auditferry_conformance::{Destination, State, all};
use auditferry_contract::SinkKind;

struct Redirected {
    path: PathBuf,
}

static MADE: AtomicUsize = AtomicUsize::new(0);

impl Redirected {
    fn new(folder: &tempfile::TempDir) -> Self {
        let path = folder.path().join(MADE.fetch_add(1, Ordering::SeqCst).to_string());
        let made = Redirected { path };
        assert!(made.arrange(State::Fine));
        made
    }
}

fn stdout_to(fd: impl AsFd) -> bool {
    rustix::stdio::dup2_stdout(fd).is_ok()
}

impl Destination for Redirected {
    fn kind(&self) -> SinkKind {
        auditferry_sink_stdout::KIND
    }

    fn options(&self) -> String {
        String::new()
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let content = std::fs::read(&self.path).expect("the file is there");
        let Some((b'\n', lines)) = content.split_last() else {
            assert!(content.is_empty(), "the output ends with a torn line");
            return Vec::new();
        };
        lines.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn arrange(&self, state: State) -> bool {
        match state {
            State::Fine => {
                let file = File::options().create(true).append(true).open(&self.path);
                file.is_ok_and(stdout_to)
            }
            State::Unwritable => {
                let Ok((reader, writer)) = io::pipe() else { return false };
                drop(reader);
                stdout_to(writer)
            }
            // what was written to a pipe can't be taken back, so there is no torn end to find when it is opened
            _ => false,
        }
    }

    fn line_oriented(&self) -> bool {
        true
    }
}

/// Who reads the output gives no answers.
const SKIPPED: [&str; 10] = [
    "poison",
    "batch too large",
    "unauthorised",
    "answer lost",
    "answer unreadable",
    "slow",
    "one attempt per call",
    "abandoned beside others",
    "hung up",
    "torn end",
];

fn main() -> ExitCode {
    // as with the usual harness, so that listing tests does not run this one
    if std::env::args().any(|a| a == "--list") {
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let skipped = runtime.block_on(all(|| Box::new(Redirected::new(&folder))));
    assert_eq!(skipped, SKIPPED);
    eprintln!("conformance: every case of this sink passed; not applicable: {}", skipped.join(", "));
    ExitCode::SUCCESS
}

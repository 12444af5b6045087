//! The suite of every sink against a file.

use std::{fs, io::Write, path::PathBuf};

use auditferry_conformance::{Destination, State, all};
use auditferry_contract::SinkKind;

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("out")).expect("a folder in it");
        Folder { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("out/events.jsonl")
    }
}

impl Destination for Folder {
    fn kind(&self) -> SinkKind {
        auditferry_sink_file::KIND
    }

    fn options(&self) -> String {
        format!("path = {:?}", self.path())
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let content = fs::read(self.path()).expect("the file is there once the sink was open");
        let Some((b'\n', lines)) = content.split_last() else {
            assert!(content.is_empty(), "the file ends with a torn line");
            return Vec::new();
        };
        lines.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn arrange(&self, state: State) -> bool {
        let (out, away) = (self.folder.path().join("out"), self.folder.path().join("away"));
        match state {
            State::Unwritable => fs::rename(out, away).is_ok(),
            State::Fine => fs::rename(away, out).is_ok(),
            State::Torn => {
                let mut file = fs::OpenOptions::new().append(true).open(self.path()).expect("the file is there");
                file.write_all(b"{\"torn\":\"\xc3").is_ok()
            }
            _ => false,
        }
    }

    fn line_oriented(&self) -> bool {
        true
    }
}

/// A file gives no answers and has no peer. What a file can't take (no room, not allowed) is tried in the crate's own tests.
const SKIPPED: [&str; 9] = [
    "poison",
    "batch too large",
    "unauthorised",
    "answer lost",
    "answer unreadable",
    "slow",
    "one attempt per call",
    "abandoned beside others",
    "hung up",
];

#[tokio::test]
async fn on_one_thread() {
    assert_eq!(all(|| Box::new(Folder::new())).await, SKIPPED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads() {
    assert_eq!(all(|| Box::new(Folder::new())).await, SKIPPED);
}

//! Files with the events that must have arrived, read while they grow.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use auditferry_conformance::fakes::Arrivals;
use auditferry_contract::EventId;
use serde::Deserialize;

/// The largest line that is read, bytes: a record of 16 MiB, in JSON within JSON.
const LINE: u64 = 64 << 20;

/// The part of an OCSF event that names it.
#[derive(Deserialize)]
struct Event {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

/// One file, and what stands in it so far.
pub struct Followed {
    /// Its path, as given.
    pub path: PathBuf,
    /// Its events.
    pub arrivals: Arrivals,
    position: u64,
}

/// All of them.
pub struct Files(Vec<Followed>);

impl Files {
    /// Nothing is read yet.
    pub fn new(paths: &[PathBuf]) -> Self {
        let follow = |path: &PathBuf| Followed { path: path.clone(), arrivals: Arrivals::counting(), position: 0 };
        Files(paths.iter().map(follow).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.0.iter()
    }

    /// Reads what was added. A file that is not there yet is empty.
    pub fn read(&mut self) -> Result<(), String> {
        self.0.iter_mut().try_for_each(Followed::read)
    }

    /// One line of counts.
    pub fn line(&self) -> String {
        self.0.iter().map(|file| file.arrivals.messages().to_string()).collect::<Vec<_>>().join(" ")
    }
}

impl Followed {
    fn read(&mut self) -> Result<(), String> {
        let wrong = |path: &Path, error: std::io::Error| format!("can't read {}: {error}", path.display());
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(wrong(&self.path, error)),
        };
        let length = file.metadata().map_err(|error| wrong(&self.path, error))?.len();
        if length < self.position {
            // another file under the same name; what stood in the old one still counts
            self.position = 0;
        }
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(self.position)).map_err(|error| wrong(&self.path, error))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE).read_until(b'\n', &mut line);
            let read = read.map_err(|error| wrong(&self.path, error))? as u64;
            if line.last() != Some(&b'\n') {
                // torn, or still being written: looked at again next time
                return if read < LINE { Ok(()) } else { Err(format!("{}: a line without end", self.path.display())) };
            }
            self.position += read;
            self.arrivals.push(id(&line), &[]);
        }
    }
}

fn id(line: &[u8]) -> Option<EventId> {
    serde_json::from_slice::<Event>(line).ok().and_then(|event| event.metadata.uid.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINES: [&str; 2] = [
        "{\"x\":1,\"metadata\":{\"uid\":\"01234567-89ab-8def-8123-456789abcdef\",\"v\":{}}}\n",
        "{\"metadata\":{\"uid\":\"11234567-89ab-8def-8123-456789abcdef\"}}\n",
    ];

    #[test]
    fn a_growing_file_is_read_by_whole_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        let mut files = Files::new(std::slice::from_ref(&path));
        assert_eq!(files.read(), Ok(()), "not there yet");
        let counts =
            |files: &Files| files.iter().map(|f| (f.arrivals.messages(), f.arrivals.events())).collect::<Vec<_>>();
        let add = |text: &str| {
            let file = File::options().create(true).append(true).open(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
        };
        let (start, end) = LINES[1].split_at(20);
        add(LINES[0]);
        add(start);
        assert_eq!((files.read(), counts(&files)), (Ok(()), vec![(1, 1)]));
        add(end);
        add(LINES[0]);
        assert_eq!((files.read(), counts(&files)), (Ok(()), vec![(3, 2)]));
        add("not an event\n");
        assert_eq!((files.read(), counts(&files)), (Ok(()), vec![(4, 2)]));
        // moved away and begun anew, as logrotate does
        std::fs::write(&path, LINES[1]).expect("written");
        assert_eq!((files.read(), counts(&files)), (Ok(()), vec![(5, 2)]));
    }
}

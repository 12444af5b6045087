//! A disk that is really full: the ledger lies on a small tmpfs of its own mount namespace, and the test fills it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    agent::{Process, SECRET, Stage, lines},
    kill::listed_to_the_end,
    support::{PATIENCE, file_sink, get, level, series, start, timed_end, wanted},
};

/// Larger than what the agent keeps, smaller than what would take long to fill.
const SIZE: &str = "size=40m,mode=700";

/// The namespace; it lives as long as its holder, which ends with its standard input.
struct Disk {
    holder: Process,
    enter: Vec<&'static str>,
    place: PathBuf,
}

impl Disk {
    /// Mounts it over `place`; `None` where this machine allows no namespaces, as in some containers.
    fn mount(place: PathBuf) -> Option<Disk> {
        fs::create_dir(&place).unwrap();
        let as_root: (&[&str], &[&str]) = (&["-m"], &["-m"]);
        let as_user: (&[&str], &[&str]) = (&["-rm"], &["-U", "-m", "--preserve-credentials"]);
        [as_root, as_user].into_iter().find_map(|(unshare, enter)| {
            let script = "mount -t tmpfs -o \"$1\" tmpfs \"$0\" && echo mounted && exec cat > /dev/null";
            let mut command = Command::new("unshare");
            command.args(unshare).args(["sh", "-c", script]).arg(&place).arg(SIZE);
            let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
            let mut said = String::new();
            BufReader::new(holder.stdout.take()?).read_line(&mut said).ok()?;
            let holder = Process(holder);
            (said == "mounted\n").then(|| Disk { holder, enter: enter.to_vec(), place: place.clone() })
        })
    }

    /// `auditferry` with these arguments, inside. It replaces `nsenter`: its process id is that of the command.
    fn command(&self, stage: &Stage, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(&self.enter).arg("-t").arg(self.holder.0.id().to_string());
        command.arg(env!("CARGO_BIN_EXE_auditferry")).args(arguments);
        command.arg("--config").arg(stage.path("auditferry.toml")).env(SECRET, "simulated-secret");
        command
    }

    /// The books, as another process beside the agent reads them.
    fn status(&self, stage: &Stage) -> serde_json::Value {
        let output = self.command(stage, &["status", "--json"]).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("status: {words}"))
    }

    fn filler(&self) -> PathBuf {
        let inside = self.place.strip_prefix("/").unwrap().join("filler");
        PathBuf::from(format!("/proc/{}/root", self.holder.0.id())).join(inside)
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut filler = fs::OpenOptions::new().append(true).create(true).open(self.filler()).unwrap();
        let mut piece: &[u8] = &[7; 1 << 16];
        while !piece.is_empty() {
            match filler.write(piece) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece = &piece[..piece.len() / 2],
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Contents known to the ledger, and records confirmed: what admitting and confirming change.
fn progress(status: &serde_json::Value) -> (u64, u64) {
    let accounts = status["streams"].as_array().unwrap().iter().flat_map(|it| it["sinks"].as_array().unwrap());
    let delivered = accounts.map(|account| account["delivered"].as_u64().unwrap()).sum();
    (status["ledger"]["contents"].as_u64().unwrap(), delivered)
}

#[test]
fn with_a_full_disk_it_stays_up_admits_and_confirms_nothing_and_goes_on_by_itself() {
    let mut stage = Stage::new(&[
        "--profile",
        "busy",
        "--seed",
        "9",
        "--rate",
        "200",
        "--backfill",
        "10s",
        "--publish-for",
        "25s",
        "--report-ids",
    ]);
    let Some(disk) = Disk::mount(stage.path("state")) else {
        eprintln!("skipped: neither root nor a user namespace, so no file system can be mounted to be filled");
        return;
    };
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = start(&stage, &mut disk.command(&stage, &["run"]), "agent.log");
    let ready = || get(&stage, "/readyz");
    stage.wait(PATIENCE, "a ready agent that delivers", || {
        ready().is_some_and(|(status, _)| status == 200) && progress(&disk.status(&stage)).1 > 500
    });

    disk.fill();
    stage.wait(PATIENCE, "an agent that says that the disk is full", || {
        ready().is_some_and(|(status, body)| status == 503 && body.contains("the disk is full"))
    });
    // what SQLite could still put into pages that it had
    disk.fill();
    let said = level(&stage.said("agent.log"), "ERROR");
    assert!(said.iter().any(|line| line.contains("the disk is full")), "{said:?}");
    let mut before = progress(&disk.status(&stage));
    let mut since = stage.published_for();
    // it may end what it had begun in pages that it had; then nothing moves for 5 s in which the service publishes on
    stage.wait(PATIENCE, "5 s without anything admitted or confirmed", || {
        disk.fill();
        let now = progress(&disk.status(&stage));
        if now != before {
            (before, since) = (now, stage.published_for());
        }
        stage.published_for() > since + 5
    });
    assert!(since + 5 < 25, "the service published all the time, the last change came after {since} s");
    assert_eq!(agent.0.try_wait().unwrap(), None, "it stays up");
    assert_eq!(get(&stage, "/livez").unwrap().0, 200);
    let (code, words) = ready().unwrap();
    assert!(code == 503 && words.contains("the disk is full"), "{code} {words}");
    assert_eq!(series(&get(&stage, "/metrics").unwrap().1, "auditferry_ledger_writable"), Some(0.0));
    println!("full: {words}  (contents, delivered) = {before:?} for 5 s");

    fs::remove_file(disk.filler()).unwrap();
    stage.wait(120, "everything delivered after there was room", || {
        let status = disk.status(&stage);
        listed_to_the_end(&stage, &status, 25) && status["sinks"][0]["contents_owed"] == 0
    });
    assert_eq!(agent.0.try_wait().unwrap(), None, "it was never started again");
    assert_eq!(get(&stage, "/readyz").unwrap().0, 200);
    let (code, took) = timed_end(&mut agent);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let status = disk.status(&stage);
    assert_eq!(status["closed"], true, "{status:#}");
    stage.simulator.terminate();
    let wanted = wanted(&stage);
    let mut arrived: Vec<String> = lines(&stage.path("one.jsonl"))
        .iter()
        .map(|line| line["metadata"]["original_event_uid"].as_str().unwrap().to_owned())
        .collect();
    arrived.sort();
    println!("{} records published, {} delivered", wanted.len(), arrived.len());
    assert!(wanted.len() > 1000);
    assert!(arrived.iter().eq(&wanted), "every record once");
}

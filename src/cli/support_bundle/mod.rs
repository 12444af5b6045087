//! `auditferry support-bundle`: what somebody needs who helps from afar, in one file: no secrets, no records.
//!
//! Everything else may be broken: the configuration, the ledger, the agent. What can't be had stands in the bundle as the words of why.

mod host;
mod scrub;

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use auditferry_contract::SinkKind;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::StreamExt as _;
use jiff::Timestamp;

use super::{ConfigArgs, Exit, check, ledger_args::fail, show::harmless, sinks, status};
use crate::{
    config::{self, Config, Mistake, SourceFile, secret::Secrets},
    ledger::{self, Ledger},
    world::{Transport, World},
};
use scrub::Scrub;

/// Of the log, at most so much from its end.
const LOG: u64 = 1 << 20;
/// Of an answer of the agent, at most so much.
const ANSWER: usize = 8 << 20;
/// How long the agent may take for one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of which agent, and where the bundle goes.
#[derive(clap::Args, Clone, Debug)]
pub struct BundleArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The agent's state directory, where the configuration can't be read
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The end of this log goes into it, without lines of level TRACE; under systemd first: journalctl -u auditferry -n 5000 > FILE
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Where it goes: a new file, readable by its owner only; default: auditferry-support-TIME.tar.gz here
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Name and text of what goes into the bundle.
type Part = (String, String);

/// Packs it, and says what is in it.
pub fn run(args: &BundleArgs, registry: &[SinkKind]) -> Exit {
    let world = super::production();
    let now = world.clock.now();
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let secrets = Secrets::default();
    let (config, files, words) = read(&args.config.paths, registry);
    let scrub = Scrub::new(config.as_ref(), &files, &secrets);
    let mut parts = vec![("version.txt".to_owned(), version(registry))];
    parts.push(("configuration/check.txt".to_owned(), checked(config.as_ref(), &secrets, now) + &words.text));
    for (number, file) in files.iter().enumerate() {
        let name = file.path.file_name().map_or("file".into(), |name| name.to_string_lossy().into_owned());
        parts.push((format!("configuration/{number:02}-{name}"), config::for_others(number, file, &words.mistakes)));
    }
    parts.push(("host.txt".to_owned(), host::machine(now)));
    let state_dir = args.state_dir.clone().or_else(|| match &config {
        Some(config) => Some(config.agent.state_dir.clone()),
        None => value_of(&files, "state_dir").map(PathBuf::from),
    });
    match &state_dir {
        Some(dir) => parts.extend(runtime.block_on(of_ledger(dir, config.as_ref(), now))),
        None => parts.push(("ledger.txt".to_owned(), "not known where it lies: give --state-dir\n".to_owned())),
    }
    let listen = match &config {
        Some(config) => config.agent.listen.to_string(),
        None => value_of(&files, "listen").unwrap_or("127.0.0.1:9464".to_owned()),
    };
    parts.extend(runtime.block_on(live(&world, &listen)));
    if let Some(log) = &args.log {
        parts.push(("log.txt".to_owned(), tail(log)));
    }
    for (_, text) in &mut parts {
        *text = scrub.clean(text);
    }
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let folder = format!("auditferry-support-{stamp}");
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz")));
    parts.insert(0, ("README.txt".to_owned(), README.to_owned()));
    match pack(&output, &folder, &parts, now) {
        Ok(()) => {
            super::out(&told(&output, &parts));
            Exit::Done
        }
        Err(error) => fail(
            Exit::Failed,
            &format!("{} can't be written: {error}; give another place with --output", output.display()),
        ),
    }
}

const README: &str = "What auditferry's support-bundle packs, for a person who helps from afar.

In it: versions, settings with secrets as ***, the configuration files without comments and without what looks like a secret, the
state of streams and sinks, gaps, what operators asked for and who did, counts of the ledger's tables, facts of the machine, metrics.
It names tenants, sinks, hosts, files and users of this machine. The words of sinks and of Microsoft are quoted as they came: they
may name addresses.
Not in it: secrets and tokens, records and events, the quarantine's records and words, certificates, environment variables.
Look through it before you send it.
";

/// What is wrong with the configuration, if anything.
#[derive(Default)]
struct Words {
    text: String,
    mistakes: Vec<Mistake>,
}

fn read(paths: &[PathBuf], registry: &[SinkKind]) -> (Option<Config>, Vec<SourceFile>, Words) {
    let (files, _) = config::read_files(&config::named(paths));
    match config::load(paths, registry) {
        Ok(config) => (Some(config), files, Words::default()),
        Err(report) => (None, files, Words { text: report.render_for_others(), mistakes: report.mistakes }),
    }
}

fn version(registry: &[SinkKind]) -> String {
    format!("auditferry {}\nledger schema: {}\n", super::version::long(registry), ledger::SCHEMA)
}

/// What `check` says.
fn checked(config: Option<&Config>, secrets: &Secrets, now: Timestamp) -> String {
    config.map_or(String::new(), |config| {
        let outcome = check::examine(config, secrets, now.as_millisecond());
        outcome.text() + &outcome.complaints()
    })
}

/// The value of a key in files of which there is no configuration.
fn value_of(files: &[SourceFile], key: &str) -> Option<String> {
    let lines = files.iter().flat_map(|file| file.text.lines());
    let value = lines.filter_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')).next()?;
    let value = value.trim().trim_start_matches(['"', '\'']).split(['"', '\'']).next()?;
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

async fn of_ledger(dir: &Path, config: Option<&Config>, now: Timestamp) -> Vec<Part> {
    let mut parts = vec![("state_dir.txt".to_owned(), host::state_dir(dir))];
    match ledger::facts(dir) {
        Ok(facts) => parts.push(("ledger.txt".to_owned(), facts)),
        Err(error) => {
            // whoever asks again waits again, and hears the same
            parts.push(("ledger.txt".to_owned(), format!("{error}\n")));
            return parts;
        }
    }
    for (name, json) in [("status.json", true), ("status.txt", false)] {
        let text = status::render(dir, json, now.as_millisecond(), status::LATELY).await.map(|(text, _)| text);
        parts.push((name.to_owned(), text.unwrap_or_else(|error| format!("{error}\n"))));
    }
    if let Some(config) = config {
        let books = match Ledger::open_for_reading(dir) {
            Ok(ledger) => ledger.books().await.ok(),
            Err(_) => None,
        };
        parts.push(("sinks.json".to_owned(), sinks::json(config, books.as_ref())));
    }
    parts
}

/// What the running agent says of itself.
async fn live(world: &World, listen: &str) -> Vec<Part> {
    // an agent that listens everywhere is asked on this machine
    let address = listen.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
    let mut parts = Vec::new();
    for name in ["metrics", "livez", "readyz"] {
        let text = match ask(world, &format!("http://{address}/{name}")).await {
            Ok(text) => text,
            Err(words) => format!("no answer from {address}: {words}\n"),
        };
        parts.push((format!("live/{name}.txt"), text));
    }
    parts
}

async fn ask(world: &World, url: &str) -> Result<String, String> {
    let client = world.http.client(&Transport::default()).map_err(|error| error.to_string())?;
    let request = http::Request::get(url).body(Bytes::new()).map_err(|error| error.to_string())?;
    let answer = client.send(request, PATIENCE).await.map_err(|error| error.to_string())?;
    let mut text = format!("http {}\n", answer.status().as_u16()).into_bytes();
    let mut body = answer.into_body();
    let read = async {
        while let Some(piece) = body.next().await {
            text.extend(piece.map_err(|error| error.to_string())?);
            if text.len() > ANSWER {
                return Err(format!("it says more than {ANSWER} bytes"));
            }
        }
        Ok(())
    };
    let late = async {
        world.clock.sleep(PATIENCE).await;
        Err("it began to answer, and did not end".to_owned())
    };
    tokio::select! {
        read = read => read?,
        late = late => late?,
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The end of a log, from a whole line on. What level TRACE says may be out of a record.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG)))?;
        let mut end = Vec::new();
        file.take(LOG).read_to_end(&mut end)?;
        if length > LOG {
            let line = end.iter().position(|byte| *byte == b'\n').map_or(end.len(), |at| at + 1);
            end.drain(..line);
        }
        Ok(end)
    };
    match read() {
        Err(error) => format!("{} can't be read: {error}\n", path.display()),
        Ok(end) => {
            let text = String::from_utf8_lossy(&end);
            let traced = |line: &&str| !line.contains("TRACE");
            text.lines().filter(traced).map(|line| harmless(line) + "\n").collect()
        }
    }
}

fn pack(output: &Path, folder: &str, parts: &[Part], now: Timestamp) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(output)?;
    let written = write(&file, folder, parts, now);
    if written.is_err() {
        let _ = fs::remove_file(output);
    }
    written
}

fn write(file: &fs::File, folder: &str, parts: &[Part], now: Timestamp) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, text) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now.as_second().max(0) as u64);
        archive.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()
}

fn told(output: &Path, parts: &[Part]) -> String {
    let mut text = format!("{}:\n", output.display());
    for (name, content) in parts {
        text += &format!("  {name:<36} {} bytes\n", content.len());
    }
    text + "no secrets and no records are in it; words of sinks are, and may name addresses. Look before you send it: tar xzf "
        + &output.display().to_string()
        + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_begins_with_a_whole_line_and_has_no_traces() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let line = format!("2026-01-01T00:00:00Z  INFO {}\n", "x".repeat(100));
        let trace = "2026-01-01T00:00:00Z TRACE a record\n";
        fs::write(&log, line.repeat(20_000) + trace + "end \u{1b}[31m\n").unwrap();
        let text = tail(&log);
        assert!(text.len() < LOG as usize && text.len() > LOG as usize - 300);
        assert!(
            text.starts_with("2026") && text.ends_with("end \\u{1b}[31m\n") && !text.contains("record"),
            "{}",
            &text[text.len() - 200..]
        );
        assert!(tail(&folder.path().join("gone")).contains("can't be read: No such file"));
    }

    #[test]
    fn a_key_is_found_in_a_broken_file() {
        let file = |text: &str| vec![SourceFile { path: "t".into(), text: text.into() }];
        assert_eq!(value_of(&file("[agnet]\n  state_dir = \"/a b\" # x\n= ="), "state_dir").as_deref(), Some("/a b"));
        assert_eq!(value_of(&file("listen='[::]:1'"), "listen").as_deref(), Some("[::]:1"));
        assert_eq!(value_of(&file("state_dir\nstate_dir = "), "state_dir"), None);
    }
}

//! `auditferry simulate`: a simulated Microsoft 365 as a server, for trying rules, configurations and other clients.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    simulator::{Profile, Simulator, TenantProfile, http, profile::ROLE_READ, read_file},
    world::{Clock, World},
};

/// The variable that the printed configuration reads the first tenant's secret from.
const SECRET_VARIABLE: &str = "SIMULATED_SECRET";

/// Arguments of `simulate`.
#[derive(Args, Debug, Clone)]
pub struct SimulateArgs {
    /// Address to listen on; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8365")]
    pub listen: SocketAddr,
    /// Serve the records of this file (JSON lines or arrays), each once, in place of made-up ones
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// quiet (1 record a minute), demo (20/s), busy (1,000/s), hostile (20/s with everything that goes wrong), tiny (the last
    /// week in 100,000 contents of one record), days (the last three days at 116/s, 10 million a day, all of Power Platform)
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub profile: String,
    /// Same seed, same contents
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Records a second for each tenant, in place of the profile's
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Number of tenants
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub tenants: u32,
    /// How long before now contents already exist, such as 10m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub backfill: Option<Duration>,
    /// Publish nothing more after this time, such as 30s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub publish_for: Option<Duration>,
    /// No body can be fetched before this time has passed, such as 2m: everything listed stays owed
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub bodies_after: Option<Duration>,
    /// Something that goes wrong, may be repeated: audit-off, no-roles, secret-expired, throttled and outage (in the second
    /// minute), late (every fifth content by 90 s), disabled (after a minute), large-blob (about 200 MB), panic, short-tokens
    #[arg(long, value_name = "NAME")]
    pub fault: Vec<String>,
    /// At the end, write the counts to this file as one JSON line
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Add to the report a list of all records that an agent has to deliver, by Id (or other unique text of the record)
    #[arg(long, requires = "report")]
    pub report_ids: bool,
}

/// Reads `90s`, `10m`, `24h`, `7d`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write a number and a unit, such as 90s, 10m, 24h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).filter(|it| *it <= 366 * 86_400).map(Duration::from_secs).ok_or_else(wrong)
}

/// Runs until SIGINT or SIGTERM, then prints what was fetched never, once, repeatedly. Exit codes: 0 stopped as asked, 2 a
/// wrong argument or file, 1 the address can't be had or the report can't be written.
pub async fn run(args: SimulateArgs, world: World) -> ExitCode {
    run_until(args, world, stop_signal()).await
}

async fn run_until(args: SimulateArgs, world: World, stop: impl Future<Output = ()> + Send + 'static) -> ExitCode {
    let start = world.clock.now();
    let mut profile = match profile(&args, start) {
        Ok(profile) => profile,
        Err(words) => {
            eprintln!("simulate: {words}");
            return ExitCode::from(2);
        }
    };
    let listener = match TcpListener::bind(args.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("simulate: can't listen on {}: {error}; choose another address with --listen", args.listen);
            return ExitCode::from(1);
        }
    };
    let address = listener.local_addr().unwrap_or(args.listen);
    profile.base_url = base_url(address);
    print!("{}", configuration(&profile));
    // a reader that waits for the block must not wait for a full buffer
    let _ = io::stdout().flush();
    eprintln!("simulate: listening on {address}; stop with ctrl-c");
    let simulator = Arc::new(Mutex::new(Simulator::new(profile)));
    let (told, mut ending) = tokio::sync::watch::channel(false);
    let stopped = async move {
        stop.await;
        let _ = told.send(true);
    };
    let clock = Arc::clone(&world.clock);
    let patience = async {
        let _ = ending.wait_for(|ended| *ended).await;
        clock.sleep(Duration::from_secs(3)).await;
    };
    let served = tokio::select! {
        served = http::serve(listener, Arc::clone(&simulator), Arc::clone(&world.clock), stopped) => served,
        // a client that keeps a slow answer open doesn't keep the simulator up
        () = patience => Ok(()),
        () = last_orders(&simulator, &*world.clock) => Ok(()),
    };
    let failed = served.is_err();
    if let Err(error) = served {
        eprintln!("simulate: the listener on {address} failed: {error}");
    }
    let now = world.clock.now();
    let simulator = simulator.lock().unwrap_or_else(PoisonError::into_inner);
    let counts = simulator.fetch_counts(now);
    println!(
        "contents {}: fetched never {}, once {}, repeatedly {}",
        counts.contents, counts.never, counts.once, counts.repeatedly
    );
    if let Some(path) = &args.report
        && let Err(error) = report(path, &simulator, now, args.report_ids)
    {
        eprintln!("simulate: the report {} was not written: {error}", path.display());
        return ExitCode::from(1);
    }
    ExitCode::from(u8::from(failed))
}

fn base_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

fn profile(args: &SimulateArgs, start: Timestamp) -> Result<Profile, String> {
    let mut profile = Profile::named(&args.profile, start, args.seed).ok_or_else(|| {
        format!("there is no profile {:?}; choose one of {}", args.profile, Profile::NAMES.join(", "))
    })?;
    let mut model = profile.tenants.first().cloned().unwrap_or_default();
    if let Some(backfill) = args.backfill {
        model.backfill = backfill;
    }
    if let Some(length) = args.publish_for {
        model.end = start.checked_add(length).ok();
    }
    if let Some(rate) = args.rate {
        if !rate.is_finite() || rate <= 0.0 || rate > 100_000.0 {
            return Err(format!("--rate {rate} is not a number of records a second between 0 and 100000"));
        }
        model.set_rate(rate);
    }
    if let Some(path) = &args.records {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the file of records {} can't be read: {error}", path.display()))?;
        let records = read_file(&text).map_err(|words| format!("{}: {words}", path.display()))?;
        if records.is_empty() {
            return Err(format!("{} holds no record; give JSON lines or arrays of records", path.display()));
        }
        model.records_per_content = model.records_per_content.clamp(1, 100);
        model.serve(records);
    }
    if let Some(held) = args.bodies_after {
        model.hold_bodies(start.checked_add(held).unwrap_or(Timestamp::MAX));
    }
    for name in &args.fault {
        if !model.switch_on(name, start) {
            return Err(format!("there is no fault {name:?}; choose one of {}", TenantProfile::FAULTS.join(", ")));
        }
    }
    profile.tenants = (0..args.tenants)
        .map(|number| {
            let ids = if number == 0 { TenantProfile::default() } else { TenantProfile::numbered(number) };
            TenantProfile { id: ids.id, domain: ids.domain, client: ids.client, secrets: ids.secrets, ..model.clone() }
        })
        .collect();
    Ok(profile)
}

/// The configuration of an agent for this service, ready to paste.
fn configuration(profile: &Profile) -> String {
    let mut out = String::from("# a simulated Microsoft 365, made by auditferry simulate; before auditferry run:\n");
    for (number, tenant) in profile.tenants.iter().enumerate() {
        out += &format!("#   export {}={}\n", variable(number), tenant.secrets.first().map_or("", String::as_str));
    }
    if !profile.tenants.iter().all(|tenant| tenant.roles.iter().any(|role| role == ROLE_READ)) {
        out += &format!("# this profile withholds {ROLE_READ}: the agent is told so\n");
    }
    for (number, tenant) in profile.tenants.iter().enumerate() {
        out += &format!(
            "\n[[source]]\nname      = \"simulated{}\"\nkind      = \"office365\"\ntenant    = \"{}\"\nclient    = \
             \"{}\"\nsecret    = {{ env = \"{}\" }}\napi       = \"{}\"\nauthority = \"{}\"\naudience  = \"{}\"\ncontent   \
             = [{}]\npoll      = \"15s\"\n",
            if number == 0 { String::new() } else { format!("-{number}") },
            tenant.id,
            tenant.client,
            variable(number),
            profile.base_url,
            profile.base_url,
            profile.audience,
            tenant.content_types.iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ")
        );
    }
    out.push('\n');
    out
}

fn variable(number: usize) -> String {
    if number == 0 { SECRET_VARIABLE.into() } else { format!("{SECRET_VARIABLE}_{number}") }
}

/// Writes the counts, and if asked all that is owed, as one line.
fn report(path: &Path, simulator: &Simulator, now: Timestamp, ids: bool) -> io::Result<()> {
    let counts = simulator.fetch_counts(now);
    let mut out = BufWriter::new(File::create(path)?);
    let head = json!({
        "contents": counts.contents, "never": counts.never, "once": counts.once, "repeatedly": counts.repeatedly,
        "leaked_tokens": simulator.leaked_tokens()
    });
    let head = head.to_string();
    if ids {
        // the object is left open for the list, which is written as it is worked out
        write!(out, "{},\"selected\":[", head.trim_end_matches('}'))?;
        let mut seen = BTreeSet::new();
        for record in simulator.owed(Timestamp::MIN, now) {
            if !seen.contains(&record.mark) {
                write!(out, "{}{}", if seen.is_empty() { "" } else { "," }, json!(record.mark))?;
                seen.insert(record.mark);
            }
        }
        writeln!(out, "]}}")?;
    } else {
        writeln!(out, "{head}")?;
    }
    out.flush()
}

/// At SIGUSR1 the service publishes nothing more; what it has stays. Never resolves.
async fn last_orders(simulator: &Mutex<Simulator>, clock: &dyn Clock) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut asked) = signal(SignalKind::user_defined1()) else { return std::future::pending().await };
    while asked.recv().await.is_some() {
        let now = clock.now();
        let mut simulator = simulator.lock().unwrap_or_else(PoisonError::into_inner);
        for tenant in &mut simulator.profile_mut().tenants {
            tenant.end = Some(tenant.end.map_or(now, |end| end.min(now)));
        }
        eprintln!("simulate: nothing more is published");
    }
    std::future::pending().await
}

/// Resolves at SIGINT or SIGTERM; both are caught from the call on, so that none that comes early is missed. Where a handler
/// can't be set, that signal ends the process as it always does.
fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let mut caught = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    async move {
        let waits = caught.iter_mut().flatten().map(|it| Box::pin(it.recv())).collect::<Vec<_>>();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        futures_util::future::select_all(waits).await;
    }
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;

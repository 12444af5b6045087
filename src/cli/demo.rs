//! `auditferry demo`: a simulated tenant, the real agent, events on standard output and in a folder; needs nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Args;
use tokio::{net::TcpListener, sync::watch};

use super::{Exit, run, status};
use crate::{
    agent::millis,
    config::{self, SourceFile, secret::Secrets},
    simulator::{Profile, Simulator, http},
    sinks::registry,
    world::World,
};

/// The variable that carries the simulated client secret into the configuration.
const SECRET: &str = "AUDITFERRY_DEMO_SECRET";
/// Its value: the simulated tenant lives for half a minute, on loopback.
const VALUE: &str = "simulated-secret";

/// Rate, length and place of the demo.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Events that the simulated tenant records, per second
    #[arg(long, default_value_t = 20.0, value_name = "N")]
    rate: f64,
    /// How long events are carried, in seconds
    #[arg(long, default_value_t = 30, value_name = "N")]
    seconds: u64,
    /// Where the events and the ledger go; emptied of an earlier demo first
    #[arg(long, default_value = "auditferry-demo", value_name = "DIR")]
    folder: PathBuf,
    /// Another tenant with other records
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// Runs the demo. Exit code 0 when the books close and nothing is pending.
pub async fn run(args: DemoArgs, world: World) -> Exit {
    match show(&args, world).await {
        Ok(exit) => exit,
        Err(words) => {
            eprintln!("auditferry demo: {words}");
            Exit::Failed
        }
    }
}

async fn show(args: &DemoArgs, world: World) -> Result<Exit, String> {
    clear(&args.folder)?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("no port on loopback: {error}"))?;
    let base = format!("http://{}", listener.local_addr().map_err(|error| error.to_string())?);
    let mut profile = Profile::named("demo", world.clock.now(), args.seed).ok_or("this build has no demo profile")?;
    profile.base_url.clone_from(&base);
    let simulated = profile.tenants.first_mut().ok_or("the demo profile has no tenant")?;
    simulated.set_rate(args.rate);
    let (tenant, client) = (simulated.id.clone(), simulated.client.clone());
    simulated.secrets = vec![VALUE.into()];
    let text = configuration(&args.folder, &base, &tenant, &client);
    let file = SourceFile { path: args.folder.join("auditferry.toml"), text: text.clone() };
    std::fs::write(&file.path, text).map_err(|error| format!("can't write {}: {error}", file.path.display()))?;
    let config = config::parse(vec![file], &registry()).map_err(|report| report.render(false))?;

    eprintln!(
        "auditferry demo: a simulated Microsoft 365 tenant at {base} records about {} events a second",
        args.rate
    );
    eprintln!(
        "auditferry demo: the agent carries them to standard output and to {}/, for {} s",
        args.folder.display(),
        args.seconds
    );
    let simulator = Arc::new(Mutex::new(Simulator::new(profile)));
    let (tell, mut told) = watch::channel(false);
    let served = http::serve(listener, simulator, Arc::clone(&world.clock), async move {
        let _ = told.wait_for(|stop| *stop).await;
    });
    let seconds = args.seconds;
    let state = config.agent.state_dir.clone();
    let wait = world.clone();
    let secrets = Secrets::with_variables(|name| (name == SECRET).then(|| VALUE.into()));
    let carried = async {
        let exit = run::until(config, world.clone(), secrets, drained(&wait, &state, seconds)).await;
        let _ = tell.send(true);
        exit
    };
    let (exit, served) = tokio::join!(carried, served);
    served.map_err(|error| format!("the simulated tenant ended: {error}"))?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    books(&state, &args.folder, millis(&world)).await
}

/// Resolves after `seconds`, and once nothing is owed any more (half a minute more at most).
async fn drained(world: &World, state: &Path, seconds: u64) {
    for second in 1..=seconds + 30 {
        world.sleep(Duration::from_secs(1)).await;
        if second % 10 == 0 && second < seconds {
            eprintln!("auditferry demo: {} s to go", seconds - second);
        }
        if second >= seconds && owed(state).await == Some(0) {
            return;
        }
    }
}

async fn owed(state: &Path) -> Option<u64> {
    let ledger = crate::ledger::Ledger::open_for_reading(state).ok()?;
    let view = ledger.books().await.ok()?;
    Some(view.sinks.iter().map(|sink| sink.contents).sum())
}

async fn books(state: &Path, folder: &Path, now: i64) -> Result<Exit, String> {
    let (text, verdict) = status::render(state, false, now, status::LATELY).await.map_err(|error| error.to_string())?;
    eprintln!("\nauditferry demo: the books\n\n{text}");
    if verdict == status::Verdict::Open {
        return Err("the books do not close: that is a defect, please report it".into());
    }
    if owed(state).await != Some(0) {
        return Err("something is still pending; try a lower --rate".into());
    }
    let folder = folder.display();
    eprintln!(
        "events: {folder}/events.ocsf.jsonl (the common schema), {folder}/records.jsonl (as Microsoft sent them)"
    );
    eprintln!("the configuration that did this: {folder}/auditferry.toml");
    Ok(Exit::Done)
}

/// Removes what an earlier demo left, and nothing else.
fn clear(folder: &Path) -> Result<(), String> {
    let fail = |error: std::io::Error| {
        format!("folder {} can't be used: {error}; choose another with --folder", folder.display())
    };
    std::fs::create_dir_all(folder).map_err(fail)?;
    let own = ["events.ocsf.jsonl", "records.jsonl", "auditferry.toml", "state"];
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match own.contains(&name.as_str()) {
            true if path.is_dir() => std::fs::remove_dir_all(&path).map_err(fail)?,
            true => std::fs::remove_file(&path).map_err(fail)?,
            false => {
                return Err(format!(
                    "folder {} holds {name}, which no demo made; choose another with --folder",
                    folder.display()
                ));
            }
        }
    }
    Ok(())
}

fn configuration(folder: &Path, base: &str, tenant: &str, client: &str) -> String {
    let place = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    format!(
        r#"# What `auditferry demo` ran with. A real one names a real tenant and leaves out api and authority.
[agent]
state_dir = {state}
listen    = "127.0.0.1:0"

[[source]]
name      = "simulated"
kind      = "office365"
tenant    = "{tenant}"
client    = "{client}"
secret    = {{ env = "{SECRET}" }}
api       = "{base}"
authority = "{base}"
poll      = "1s"

[[sink]]
name  = "screen"
kind  = "stdout"
codec = "ocsf"
raw_data = false

[[sink]]
name  = "events"
kind  = "file"
codec = "ocsf"
path  = {events}

[[sink]]
name  = "records"
kind  = "file"
codec = "raw"
path  = {records}
"#,
        state = place("state"),
        events = place("events.ocsf.jsonl"),
        records = place("records.jsonl"),
    )
}

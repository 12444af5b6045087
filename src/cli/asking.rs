//! How acting commands act: one row in the ledger, then watching what the running agent makes of it (design §4).

use std::{path::Path, time::Duration};

use super::{
    Exit,
    ledger_args::{fail, now},
    show::harmless,
};
use crate::ledger::{Ledger, LedgerError, Request, Wanted};

/// Between two looks at the request.
const LOOK: Duration = Duration::from_millis(200);
/// An agent that runs takes a request up within a second; a busy one within a few.
const TAKEN: u32 = 25;
/// Without `--wait`: looks until the command ends and leaves the rest to the agent.
const ENOUGH: u32 = 50;

/// How to go on once the request is written.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Waiting {
    /// Stay until it is done, however long that takes; Ctrl-C ends the waiting, not the request
    #[arg(long)]
    wait: bool,
    /// Print the request as one JSON object, in place of words
    #[arg(long)]
    json: bool,
}

/// Who asks: the user and the machine, for the auditor.
fn who() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let uid = rustix::process::getuid().as_raw();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut who = match name {
        // a variable can say anything; the number is the system's
        Some(name) => format!("{name} (uid {uid}) on {host}"),
        None => format!("uid {uid} on {host}"),
    };
    who.retain(|c| !c.is_control());
    who
}

/// Writes the request, and shows what becomes of it.
pub async fn ask(state_dir: &Path, wanted: Wanted, waiting: Waiting) -> Exit {
    let ledger = match Ledger::open_for_asking(state_dir) {
        Ok(ledger) => ledger,
        Err(error) => return fail(Exit::Ledger, &error.to_string()),
    };
    let id = match ledger.ask(who(), wanted, now()).await {
        Ok(id) => id,
        Err(LedgerError::Unavailable(cause)) => {
            let words = format!(
                "the request can't be written into the ledger: {cause}; do it as the user that runs the agent, or try again"
            );
            return fail(Exit::Ledger, &words);
        }
        Err(error) => return fail(Exit::Ledger, &error.to_string()),
    };
    match watch(&ledger, state_dir, id, waiting.wait).await {
        Ok(Some(request)) => told(&request, waiting.json),
        Ok(None) => fail(Exit::Ledger, &format!("request {id} is gone from the ledger")),
        Err(error) => fail(
            Exit::Ledger,
            &format!(
                "request {id} is written, but can't be watched: {error}; `auditferry status` shows what comes of it"
            ),
        ),
    }
}

async fn watch(ledger: &Ledger, state_dir: &Path, id: i64, wait: bool) -> Result<Option<Request>, LedgerError> {
    let clock = super::production().clock;
    let mut looks = 0;
    let mut told = None;
    loop {
        let request = ledger.request(id).await?;
        let Some(known) = &request else { return Ok(None) };
        if known.ended_at.is_some() || (!wait && looks >= ENOUGH) {
            return Ok(request);
        }
        if known.taken_at.is_some() && told != Some((known.done, known.contents)) && looks % 5 == 0 {
            told = Some((known.done, known.contents));
            super::err(&format!("request {id}: {} records so far\n", known.done));
        }
        if known.taken_at.is_none() && looks == TAKEN {
            super::err(&format!(
                "nobody has taken request {id} up yet, and nothing is done so far. It is kept in the ledger: an agent that runs with state_dir {} works it off, and `auditferry status` shows what came of it\n",
                state_dir.display()
            ));
            if !wait {
                return Ok(request);
            }
        }
        looks += 1;
        clock.sleep(LOOK).await;
    }
}

fn told(request: &Request, json: bool) -> Exit {
    if json {
        // plain data: it always serialises
        let text = serde_json::to_string_pretty(request).unwrap_or_default();
        super::out(&(super::show::harmless_json(&text) + "\n"));
    }
    let id = request.id;
    match (&request.outcome, request.refused) {
        (Some(words), true) => return fail(Exit::Failed, &format!("request {id} was not done: {}", harmless(words))),
        (Some(words), false) if !json => super::out(&format!("request {id}: {}\n", harmless(words))),
        (None, _) if !json && request.taken_at.is_some() => {
            super::out(&format!(
                "request {id} is being worked off, {} records so far: `auditferry status` shows what comes of it\n",
                request.done
            ));
        }
        _ => {}
    }
    Exit::Done
}

//! The agent's own ground: the state directory, and who holds it.

use std::net::{SocketAddr, TcpListener};

use super::{Step, Tried};
use crate::{
    cli::show::bytes,
    config::Config,
    ledger::{self, Ground},
};

/// Below this a busy tenant fills the disk within days.
const LITTLE: u64 = 1 << 30;

/// Whether the address of `/metrics` is free; let go at once.
fn listen(address: SocketAddr) -> Step {
    match TcpListener::bind(address) {
        Ok(_) => Step::ok("listen", format!("{address} is free")),
        Err(error) => {
            let words = format!(
                "agent.listen {address} can't be used: {error}; is another program there? end it, or give agent.listen another port"
            );
            Step::failed("listen", "ListenTaken", words)
        }
    }
}

pub(super) fn look(config: &Config) -> Tried {
    let dir = &config.agent.state_dir;
    let place = dir.display();
    let mut steps = Vec::new();
    match ledger::ground(dir) {
        Err(error) => steps.push(Step::cause("state_dir", &error.to_string())),
        Ok(Ground { free, holder, exists }) => {
            let wanted = config.agent.body_budget;
            steps.push(match exists {
                true => Step::ok("state_dir", format!("{place} can be used")),
                false => Step::ok("state_dir", format!("{place} is not there yet: `auditferry run` makes it")),
            });
            let words =
                format!("{} free; bodies for slow sinks may take {} (`body_budget`)", bytes(free), bytes(wanted));
            steps.push(match free {
                free if free < LITTLE => {
                    Step::warning("disk", "DiskFull", format!("{words}: make room before it is full"))
                }
                _ => Step::ok("disk", words),
            });
            steps.push(match holder {
                Some(holder) => Step::ok("running", format!("an agent runs with this state_dir: {holder}")),
                None => listen(config.agent.listen),
            });
        }
    }
    Tried { table: "agent", name: None, steps }
}

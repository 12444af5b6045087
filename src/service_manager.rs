//! Tells the service manager (systemd, or whoever set `NOTIFY_SOCKET`) that the agent has started, is alive, and stops: sd_notify(3).
//!
//! Its watchdog is fed by the rule of `/livez`: a loop that hangs ends the beats, the service manager ends the process and starts it again,
//! which is always safe.

use std::{io, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tracing::{error, info, warn};

use crate::{activity::Activity, agent::millis, ledger::Millis, world::World};

/// Between two looks when there is no watchdog, so that the status line is never older.
const LOOK: Duration = Duration::from_secs(30);

/// A watchdog of less than twice this is not to be had: it would keep a core busy.
const SHORTEST: Duration = Duration::from_millis(100);

/// A clock that is ahead of its own sleep by more than this was set, or stood still.
const JUMP: Millis = 30_000;

/// No loop that lives takes longer to turn once (milliseconds): they sleep for a minute at most, but for a long `poll`, and say so.
const TURN: Millis = 90_000;

/// How many failing sinks the status line names.
const NAMED: usize = 3;

/// Sends these states, each as text, in one message.
type Tell = dyn Fn(&[String]) -> io::Result<()> + Send + Sync;

/// Whoever started this process and wants to know how it fares; nobody, often.
#[derive(Clone)]
pub struct ServiceManager {
    tell: Arc<Tell>,
    /// It ends the process when it hears nothing for so long.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that this process's environment names.
    pub fn of_this_process() -> ServiceManager {
        let tell = |states: &[String]| {
            let states: Vec<_> = states.iter().map(|state| NotifyState::Custom(state)).collect();
            sd_notify::notify(&states)
        };
        let watchdog = sd_notify::watchdog_enabled().filter(|watchdog| !watchdog.is_zero());
        ServiceManager { tell: Arc::new(tell), watchdog }
    }

    /// Says that the agent is ready once its loops have started, then feeds the watchdog while none of them hangs. Never returns.
    pub async fn keep_informed(&self, world: &World, activity: &Activity) {
        activity.begun().await;
        // four times as often as it must be: a beat that is late, or left out, ends nothing
        let every = self.watchdog.map_or(LOOK, |watchdog| (watchdog / 4).clamp(SHORTEST, LOOK));
        let (mut looked, mut believed) = (millis(world), Millis::MIN);
        let mut states = vec![NotifyState::Ready.to_string()];
        let (mut said, mut hanging) = (String::new(), false);
        loop {
            let now = millis(world);
            if now < looked {
                activity.set_back(now);
            } else if now - looked > every.as_millis() as Millis + JUMP {
                // the clock was set ahead, or the machine slept: every loop looks old until it has turned once more
                believed = now + TURN;
            }
            looked = now;
            let hung = if now < believed { Vec::new() } else { activity.hung(now) };
            if hung.is_empty() == hanging {
                hanging = !hanging;
                self.log(&hung);
            }
            if !hanging && self.watchdog.is_some() {
                states.push(NotifyState::Watchdog.to_string());
            }
            let status = status(activity, &hung);
            if status != said {
                states.push(NotifyState::Status(&status).to_string());
                said = status;
            }
            self.tell(std::mem::take(&mut states)).await;
            world.clock.sleep(every).await;
        }
    }

    /// Says that the agent stops: what takes long from now on is no fault.
    pub async fn stopping(&self) {
        self.tell(vec![NotifyState::Stopping.to_string(), NotifyState::Status("stopping").to_string()]).await;
    }

    fn log(&self, hung: &[String]) {
        match (hung.is_empty(), self.watchdog) {
            (true, _) => info!("every loop turns again"),
            (false, None) => error!("these loops have not turned for 5 minutes: {}", hung.join(", ")),
            (false, Some(_)) => error!(
                "these loops have not turned for 5 minutes: {}; the watchdog is no longer fed, so the service manager will start the agent anew",
                hung.join(", ")
            ),
        }
    }

    /// Tells it; a service manager that reads slowly holds up nobody but this call.
    async fn tell(&self, states: Vec<String>) {
        if states.is_empty() {
            return;
        }
        let tell = Arc::clone(&self.tell);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || tell(&states)).await {
            warn!("the service manager could not be told how the agent fares: {error}; see NOTIFY_SOCKET");
        }
    }
}

/// One short line: what `systemctl status` shows.
fn status(activity: &Activity, hung: &[String]) -> String {
    if !hung.is_empty() {
        return format!("hung: {}", hung.join(", "));
    }
    if let Some(error) = activity.ledger_state() {
        // one line of the protocol each
        return error.replace(['\n', '\r'], " ");
    }
    let failing: Vec<String> =
        activity.sinks().into_iter().filter(|(_, sink)| sink.error.is_some()).map(|(name, _)| name).collect();
    let stale = activity.streams().values().filter(|stream| stream.error.is_some()).count();
    let mut status = String::from("carrying events");
    if !failing.is_empty() {
        let more = failing.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        status += &format!("; failing sinks: {}{rest}", failing[..failing.len() - more].join(", "));
    }
    if stale > 0 {
        status += &format!("; streams that can't be listed: {stale}");
    }
    status
}

#[cfg(test)]
#[path = "service_manager_tests.rs"]
mod tests;

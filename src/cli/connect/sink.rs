//! A sink: its own code connects and asks; nothing is delivered.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use auditferry_contract::Env;
use futures_util::FutureExt as _;

use super::{Step, Tried};
use crate::{cli::check, config::SinkConfig, env::AgentEnv, world::World};

/// No destination that works takes longer to say so; its `deadline` is for deliveries.
const PATIENCE: Duration = Duration::from_secs(45);

pub(super) async fn look(sink: &SinkConfig, world: &World, env: &Arc<AgentEnv>) -> Tried {
    let env: Arc<dyn Env> = env.clone();
    let probing = AssertUnwindSafe(sink.checked.probe(env)).catch_unwind();
    let step = tokio::select! {
        biased;
        probed = probing => match probed {
            Ok(Ok(worth)) => Step::ok("open", format!("it answers; its Ok is worth: {}", check::worth(worth))),
            Ok(Err(error)) => Step::cause("open", &error.cause().0),
            Err(_) => Step::failed("open", "SinkPanic", format!("kind `{}` panicked: please report it", sink.kind)),
        },
        () = world.sleep(PATIENCE) => {
            Step::failed("open", "Timeout", format!("no answer within {} s: is its address right, and is a firewall in between?", PATIENCE.as_secs()))
        }
    };
    Tried { table: "sink", name: Some(sink.name.clone()), steps: vec![step] }
}

//! What sinks and sources may ask of the agent: secrets, files, its name, randomness.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use auditferry_contract::{Cause, Env, SecretRef, SecretString};
use bytes::Bytes;

use crate::{agent::millis, config::secret::Secrets, ledger::Millis, world::World};

/// A secret is read again after this long, so that a rotated one is noticed.
const FRESH: Duration = Duration::from_secs(60);
/// Certificates, keys and secrets are small; what is larger is a mistake.
const LARGEST: u64 = 1 << 20;

/// The agent's [`Env`].
pub struct AgentEnv {
    world: World,
    secrets: Secrets,
    cached: Mutex<BTreeMap<String, (Millis, SecretString)>>,
}

impl AgentEnv {
    /// Reads secrets from files and the environment.
    pub fn new(world: World, secrets: Secrets) -> Arc<AgentEnv> {
        Arc::new(AgentEnv { world, secrets, cached: Mutex::new(BTreeMap::new()) })
    }
}

#[async_trait]
impl Env for AgentEnv {
    fn agent(&self) -> &str {
        crate::AGENT
    }

    async fn secret(&self, reference: &SecretRef) -> Result<SecretString, Cause> {
        let name = format!("{reference:?}");
        let now = millis(&self.world);
        {
            let cached = self.cached.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some((at, secret)) = cached.get(&name)
                && now - at < FRESH.as_millis() as Millis
            {
                return Ok(secret.clone());
            }
        }
        let secret = self.secrets.resolve(reference)?;
        self.cached.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(name, (now, secret.clone()));
        Ok(secret)
    }

    async fn file(&self, path: &Path) -> Result<Bytes, Cause> {
        let path = path.to_owned();
        let read = move || -> std::io::Result<Bytes> {
            if std::fs::metadata(&path)?.len() > LARGEST {
                return Err(std::io::Error::other(format!("{} is larger than 1 MiB", path.display())));
            }
            std::fs::read(&path)
                .map(Bytes::from)
                .map_err(|error| std::io::Error::new(error.kind(), format!("can't read {}: {error}", path.display())))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read.map_err(Cause::from),
            Err(error) => Err(Cause(format!("reading a file was interrupted: {error}"))),
        }
    }

    fn random(&self) -> u128 {
        u128::from(self.world.random.next()) << 64 | u128::from(self.world.random.next())
    }
}

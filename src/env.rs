//! What sinks and sources may ask of the agent: secrets, files, its name, randomness.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use auditferry_contract::{Cause, Env, ExposeSecret, SecretRef, SecretString};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    activity::Activity,
    agent::millis,
    config::secret::Secrets,
    expiry::{self, Reminders},
    ledger::Millis,
    world::World,
};

/// A secret is read again after this long.
const FRESH: Duration = Duration::from_secs(60);
/// Certificates, keys and secrets are small; what is larger is a mistake.
const LARGEST: u64 = 1 << 20;

/// The agent's [`Env`].
pub struct AgentEnv {
    world: World,
    secrets: Arc<Secrets>,
}

impl AgentEnv {
    /// Reads secrets from files and the environment.
    pub fn new(world: World, secrets: Secrets) -> Arc<AgentEnv> {
        Arc::new(AgentEnv { world, secrets: Arc::new(secrets) })
    }
}

#[async_trait]
impl Env for AgentEnv {
    fn agent(&self) -> &str {
        crate::AGENT
    }

    async fn secret(&self, reference: &SecretRef) -> Result<SecretString, Cause> {
        let (secrets, reference) = (Arc::clone(&self.secrets), reference.clone());
        // a file on a mount that hangs holds up whoever asked for it, and nobody else
        match tokio::task::spawn_blocking(move || secrets.resolve(&reference)).await {
            Ok(secret) => Ok(secret?),
            Err(error) => Err(Cause(format!("reading a secret was interrupted: {error}"))),
        }
    }

    async fn file(&self, path: &Path) -> Result<Bytes, Cause> {
        let path = path.to_owned();
        let read = move || -> Result<Bytes, Cause> {
            let shown = path.display();
            let wrong = |error: std::io::Error| match error.kind() {
                std::io::ErrorKind::NotFound => Cause::coded(
                    "File",
                    format_args!("{shown} is not there; put the file there, or correct its path in the configuration"),
                ),
                std::io::ErrorKind::PermissionDenied => Cause::coded(
                    "File",
                    format_args!("{shown} can't be read: permission denied; let the agent's user read it"),
                ),
                _ => Cause(format!("{shown} can't be read: {error}")),
            };
            let about = std::fs::metadata(&path).map_err(wrong)?;
            // a pipe would be waited for
            if !about.is_file() {
                return Err(Cause(format!("{shown} is no regular file")));
            }
            if about.len() > LARGEST {
                return Err(Cause(format!("{shown} is larger than 1 MiB: that is no certificate or key")));
            }
            std::fs::read(&path).map(Bytes::from).map_err(wrong)
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(error) => Err(Cause(format!("reading a file was interrupted: {error}"))),
        }
    }

    fn random(&self) -> u128 {
        u128::from(self.world.random.next()) << 64 | u128::from(self.world.random.next())
    }
}

/// Stands for what could not be read: no SHA-256 that anybody will ever see.
const UNREADABLE: [u8; 32] = [0; 32];

/// Something that a sink was opened with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reading {
    File(PathBuf),
    Secret(String),
}

/// What was found there.
#[derive(Clone)]
struct Found {
    reference: Option<SecretRef>,
    /// So that no secret lies about for being compared.
    digest: [u8; 32],
    /// Of a file: when the first certificate in it ends.
    end: Option<Millis>,
}

struct Known {
    found: Found,
    cached: Option<(Millis, SecretString)>,
}

/// The [`Env`] of one sink: keeps secrets for 60 s, and knows what the sink was opened with, so that it is opened anew when that
/// changes. Of every file that goes by it tells when the certificates in it end.
pub struct SinkEnv {
    inner: Arc<dyn Env>,
    world: World,
    /// Of the sink.
    name: String,
    activity: Activity,
    reminders: Arc<Reminders>,
    read: Mutex<BTreeMap<Reading, Known>>,
}

impl SinkEnv {
    /// What `inner` gives to the sink of this name, remembered. `reminders` is shared by all sinks.
    pub fn new(
        inner: Arc<dyn Env>,
        world: World,
        name: String,
        activity: Activity,
        reminders: Arc<Reminders>,
    ) -> Arc<SinkEnv> {
        Arc::new(SinkEnv { inner, world, name, activity, reminders, read: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Reading, Known>> {
        // whole entries only: a panic elsewhere leaves nothing half written
        self.read.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The sink is opened: what an earlier one read does not count any more; secrets stay cached.
    pub(crate) fn begin(&self) {
        self.lock().retain(|_, known| known.cached.is_some());
        self.activity.sink(&self.name, |known| known.certificates.clear());
    }

    /// The first certificate in this file ends then.
    fn ends(&self, file: &Path, end: Option<Millis>) {
        let label = file.display().to_string();
        self.activity.sink(&self.name, |known| {
            match end {
                Some(end) => known.certificates.insert(label, end),
                None => known.certificates.remove(&label),
            };
        });
        if let Some(words) = end.and_then(|end| self.reminders.due(file, end, millis(&self.world))) {
            tracing::warn!(sink = self.name, "{words}");
        }
    }

    /// Whether there is anything to look at.
    pub(crate) fn watches(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Secrets are read anew at their next use.
    pub(crate) fn forget(&self) {
        self.lock().values_mut().for_each(|known| known.cached = None);
    }

    /// Looks again at all that was read; names what is different now. What can't be read now counts as unchanged: the connection that
    /// was opened with it still stands, and a file is being replaced perhaps.
    pub(crate) async fn changed(&self) -> Option<String> {
        let known: Vec<(Reading, Found)> =
            self.lock().iter().map(|(reading, known)| (reading.clone(), known.found.clone())).collect();
        for (reading, found) in known {
            let now = match (&reading, &found.reference) {
                (Reading::File(path), _) => self.inner.file(path).await.map(|bytes| {
                    let now = digest(&bytes);
                    // the sink is opened anew with its next batch only: the metric need not wait for that
                    self.ends(path, if now == found.digest { found.end } else { expiry::earliest_end(&bytes) });
                    now
                }),
                (Reading::Secret(_), Some(reference)) => {
                    self.inner.secret(reference).await.map(|secret| digest(secret.expose_secret().as_bytes()))
                }
                (Reading::Secret(_), None) => continue,
            };
            if now.is_ok_and(|now| now != found.digest) {
                // what is cached is the old one
                self.forget();
                return Some(match reading {
                    Reading::File(path) => path.display().to_string(),
                    Reading::Secret(name) => name,
                });
            }
        }
        None
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[async_trait]
impl Env for SinkEnv {
    fn agent(&self) -> &str {
        self.inner.agent()
    }

    async fn secret(&self, reference: &SecretRef) -> Result<SecretString, Cause> {
        let name = Reading::Secret(format!("the secret in {reference}"));
        let now = millis(&self.world);
        if let Some(Known { cached: Some((at, secret)), .. }) = self.lock().get(&name)
            && (0..FRESH.as_millis() as Millis).contains(&(now - at))
        {
            return Ok(secret.clone());
        }
        let secret = match self.inner.secret(reference).await {
            Ok(secret) => secret,
            Err(cause) => {
                // that it can be read is a change, too
                let found = Found { reference: Some(reference.clone()), digest: UNREADABLE, end: None };
                self.lock().insert(name, Known { found, cached: None });
                return Err(cause);
            }
        };
        let digest = digest(secret.expose_secret().as_bytes());
        let found = Found { reference: Some(reference.clone()), digest, end: None };
        self.lock().insert(name, Known { found, cached: Some((now, secret.clone())) });
        Ok(secret)
    }

    async fn file(&self, path: &Path) -> Result<Bytes, Cause> {
        let bytes = match self.inner.file(path).await {
            Ok(bytes) => bytes,
            Err(cause) => {
                let found = Found { reference: None, digest: UNREADABLE, end: None };
                self.lock().insert(Reading::File(path.to_owned()), Known { found, cached: None });
                return Err(cause);
            }
        };
        let end = expiry::earliest_end(&bytes);
        let found = Found { reference: None, digest: digest(&bytes), end };
        self.lock().insert(Reading::File(path.to_owned()), Known { found, cached: None });
        self.ends(path, end);
        Ok(bytes)
    }

    fn random(&self) -> u128 {
        self.inner.random()
    }
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;

//! An agent's side for tests.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use auditferry_contract::{Cause, Env, SecretRef, SecretString};
use bytes::Bytes;

/// The value of every secret that [`TestEnv`] gives out. No error of a sink may hold it.
pub const SECRET: &str = "conformance-hunter2";

/// Gives out secrets and files from memory, and countable randomness.
#[derive(Debug, Default)]
pub struct TestEnv {
    /// Files by path; what is not here is read from the disk.
    pub files: BTreeMap<String, Bytes>,
    drawn: AtomicU64,
}

#[async_trait]
impl Env for TestEnv {
    fn agent(&self) -> &str {
        "auditferry/0.0.0-conformance"
    }

    async fn secret(&self, _: &SecretRef) -> Result<SecretString, Cause> {
        Ok(SecretString::from(SECRET))
    }

    async fn file(&self, path: &Path) -> Result<Bytes, Cause> {
        if let Some(bytes) = path.to_str().and_then(|p| self.files.get(p)) {
            return Ok(bytes.clone());
        }
        let read = tokio::fs::read(path).await;
        read.map(Bytes::from).map_err(|error| Cause(format!("can't read {}: {error}", path.display())))
    }

    fn random(&self) -> u128 {
        // each call another value, each run the same ones; the multiplier spreads the bits (SplitMix64)
        let n = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
        u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(n)
    }
}

//! Where a command finds the ledger, and how it tells that it can't use it.

use std::path::{Path, PathBuf};

use auditferry_contract::SinkKind;

use super::Exit;
use crate::{
    config::{self, Config},
    ledger::{Books, Ledger, LedgerError, Millis},
};

/// Where the ledger is: in the agent's configuration, or named outright.
#[derive(clap::Args, Clone, Debug)]
#[group(multiple = false)]
pub struct LedgerArgs {
    /// A TOML file, or a folder of them that make one configuration; may be repeated. Without it: what AUDITFERRY_CONFIG names,
    /// with `:` between several
    #[arg(long = "config", value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// The agent's state directory, where no configuration is at hand
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl LedgerArgs {
    /// The state directory. Mistakes of the configuration have been shown when it fails.
    pub fn state_dir(&self, registry: &[SinkKind]) -> Result<PathBuf, Exit> {
        Ok(self.configured(registry)?.0)
    }

    /// The state directory, and the configuration where that was asked for by it. Likewise.
    pub fn configured(&self, registry: &[SinkKind]) -> Result<(PathBuf, Option<Config>), Exit> {
        match &self.state_dir {
            Some(dir) => Ok((dir.clone(), None)),
            None => match config::load(&self.paths, registry) {
                Ok(config) => Ok((config.agent.state_dir.clone(), Some(config))),
                Err(report) => Err(super::refuse(&report)),
            },
        }
    }
}

/// Now, for a command.
pub fn now() -> Millis {
    super::production().clock.now().as_millisecond()
}

/// Says why a command did nothing.
pub fn fail(exit: Exit, words: &str) -> Exit {
    super::err(&format!("auditferry: {words}\n"));
    exit
}

/// A reading command's trouble with the ledger.
pub fn unreadable(error: &LedgerError) -> Exit {
    let words = match error {
        // the agent's words speak of what the agent does next
        LedgerError::Unavailable(cause) => {
            format!("the ledger can't be read at the moment: {cause}; try again, as a user that may read state_dir")
        }
        other => other.to_string(),
    };
    fail(Exit::Ledger, &words)
}

/// The books of an agent, for a command that acts on what they show. What is wrong has been said when it fails.
pub async fn books(state_dir: &Path) -> Result<Books, Exit> {
    let ledger = Ledger::open_for_reading(state_dir).map_err(|error| fail(Exit::Ledger, &error.to_string()))?;
    ledger.books().await.map_err(|error| unreadable(&error))
}

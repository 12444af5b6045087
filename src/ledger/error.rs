use thiserror::Error;

/// Why a ledger call did nothing. Whatever the variant, nothing of the call is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// The disk is full, or a quota is reached. Goes away by itself when there is space.
    #[error(
        "the ledger can't be written, the disk is full: {0}; free some space under state_dir, the agent goes on by itself [DiskFull]"
    )]
    Full(String),
    /// Locked by another process, or an I/O error. Tried again.
    #[error("the ledger can't be used at the moment: {0}; the agent tries again every 30 s [LedgerUnavailable]")]
    Unavailable(String),
    /// The file is damaged, or a call broke a rule of the schema. The agent ends: going on could lose records.
    #[error("the ledger is broken: {0}; stop the agent, keep a copy of state_dir and ask for help [LedgerBroken]")]
    Broken(String),
    /// The process is dying (crash test only).
    #[error("dead")]
    Dead,
}

impl LedgerError {
    /// True when trying again later can help.
    pub fn passes(&self) -> bool {
        matches!(self, LedgerError::Full(_) | LedgerError::Unavailable(_))
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::*;
        let words = error.to_string();
        match error.sqlite_error_code() {
            Some(DiskFull) => LedgerError::Full(words),
            Some(
                DatabaseBusy
                | DatabaseLocked
                | SystemIoFailure
                | CannotOpen
                | OutOfMemory
                | ReadOnly
                | PermissionDenied
                | OperationInterrupted
                | FileLockingProtocolFailed,
            ) => LedgerError::Unavailable(words),
            _ => LedgerError::Broken(words),
        }
    }
}

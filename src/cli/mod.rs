//! The commands, one file each.

pub mod map;
pub mod run;
mod split;
pub mod status;

/// How a command ended; the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: as asked.
    Good,
    /// 1: anything else.
    Other,
    /// 2: configuration.
    Configuration,
    /// 3: ledger unusable.
    Ledger,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Good => 0,
            Exit::Other => 1,
            Exit::Configuration => 2,
            Exit::Ledger => 3,
        }
    }
}

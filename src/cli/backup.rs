//! `auditferry backup TO` and `auditferry restore FROM`: a copy of the ledger that can be kept, and its way back.

use std::path::PathBuf;

use auditferry_contract::SinkKind;

use super::{
    Exit,
    ledger_args::{LedgerArgs, fail},
    show::bytes,
};
use crate::ledger::{self, BackupError};

/// Where the copy goes.
#[derive(clap::Args, Clone, Debug)]
pub struct BackupArgs {
    /// The copy: one new file, readable by its owner only
    #[arg(value_name = "TO")]
    to: PathBuf,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// Which copy is put back.
#[derive(clap::Args, Clone, Debug)]
pub struct RestoreArgs {
    /// A copy that `auditferry backup` made, or the agent before an upgrade; it stays where it is
    #[arg(value_name = "FROM")]
    from: PathBuf,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// Copies the ledger, beside a running agent too.
pub fn backup(args: &BackupArgs, registry: &[SinkKind]) -> Exit {
    let state_dir = match args.ledger.state_dir(registry) {
        Ok(state_dir) => state_dir,
        Err(exit) => return exit,
    };
    match ledger::backup(&state_dir, &args.to) {
        Ok(copied) => {
            super::out(&format!(
                "{}: the whole ledger, {}, schema {}; it holds records, keep it as safe as {}\n",
                args.to.display(),
                bytes(copied.bytes),
                copied.schema,
                state_dir.display()
            ));
            Exit::Done
        }
        Err(error) => refused(&error),
    }
}

/// Puts a copy in the place of the ledger of an agent that does not run.
pub fn restore(args: &RestoreArgs, registry: &[SinkKind]) -> Exit {
    let state_dir = match args.ledger.state_dir(registry) {
        Ok(state_dir) => state_dir,
        Err(exit) => return exit,
    };
    let lock = match ledger::lock(&state_dir) {
        Ok(lock) => lock,
        Err(error) => return fail(Exit::Ledger, &error.to_string()),
    };
    match ledger::restore(&state_dir, &args.from, &lock) {
        Ok(copied) => {
            let place = state_dir.display();
            super::out(&format!("{place}: the ledger is that of {}, schema {}\n", args.from.display(), copied.schema));
            if let Some(replaced) = copied.replaced {
                let words = "the one that was there lies in {}: delete it, and what has its name with -wal and -shm, once nothing is missed\n";
                super::out(&words.replace("{}", &replaced.display().to_string()));
            }
            super::out("what was delivered since the copy was made is delivered again, with the same event ids\n");
            Exit::Done
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &BackupError) -> Exit {
    let exit = match error {
        BackupError::Open(_) | BackupError::Damaged { .. } => Exit::Ledger,
        BackupError::Exists { .. }
        | BackupError::Left { .. }
        | BackupError::Own { .. }
        | BackupError::HalfWay { .. }
        | BackupError::Write { .. } => Exit::Failed,
    };
    fail(exit, &error.to_string())
}

//! How transactions run: one writer thread with group commit in production, in the same poll in the crash test.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{LedgerError, open};
use crate::world::{Gate, LedgerFault};

/// At most this many callers share one COMMIT, so that the first of them does not wait for ever.
const GROUP: usize = 64;

/// So many callers are told at once that the file is locked; far more than there are loops.
const WAITING: usize = 10_000;

/// Learns whether its transaction was committed, and answers its caller.
type Answer = Box<dyn FnOnce(Result<(), LedgerError>)>;
type Work = Box<dyn FnOnce(Result<&Connection, LedgerError>) -> Share + Send>;

/// What one caller put into a group.
pub(super) struct Share {
    answer: Answer,
    /// It was not undone.
    done: bool,
}

/// How many transactions share a COMMIT. Only those count that changed the file: the others cost no write to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Transactions, each of one caller.
    pub transactions: u64,
    /// COMMITs, each of the transactions of a group, each with an fdatasync of its own.
    pub commits: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    transactions: AtomicU64,
    commits: AtomicU64,
}

pub(super) enum Engine {
    /// The writer thread ends when the last handle is dropped.
    Thread { jobs: mpsc::Sender<Work>, readers: Mutex<Vec<Connection>>, path: PathBuf, counters: Arc<Counters> },
    /// Memory-backed, for the crash test: every call runs in the poll that makes it, unless the disk is slow.
    Inline { shared: Arc<Mutex<Connection>>, gate: Gate },
}

impl Engine {
    pub(super) fn thread(connection: Connection, path: &Path) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Work>();
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        // tidy: the writer thread is part of the ledger, not a loop of the agent
        let spawn = std::thread::Builder::new().name("ledger".into()).spawn(move || run(connection, &queue, &counted));
        spawn?;
        Ok(Engine::Thread { jobs, readers: Mutex::new(Vec::new()), path: path.to_owned(), counters })
    }

    pub(super) fn inline(shared: Arc<Mutex<Connection>>, gate: Gate) -> Self {
        Engine::Inline { shared, gate }
    }

    pub(super) fn commits(&self) -> Commits {
        match self {
            Engine::Thread { counters, .. } => Commits {
                transactions: counters.transactions.load(Ordering::Relaxed),
                commits: counters.commits.load(Ordering::Relaxed),
            },
            Engine::Inline { .. } => Commits::default(),
        }
    }

    pub(super) fn mutant(&self, name: &str) -> bool {
        matches!(self, Engine::Inline { gate, .. } if gate.mutant(name))
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        match self {
            Engine::Thread { jobs, .. } => {
                let (answer, answered) = oneshot::channel();
                let job: Work = Box::new(move |connection| {
                    let result = connection.and_then(|connection| savepoint(connection, work));
                    let done = result.is_ok();
                    let answer: Answer = Box::new(move |commit| {
                        // the job's own error says more than that of the group; a caller may have gone away
                        let _ = answer.send(result.and_then(|value| commit.map(|()| value)));
                    });
                    Share { answer, done }
                });
                jobs.send(job).map_err(|_| ended())?;
                answered.await.map_err(|_| ended())?
            }
            Engine::Inline { shared, gate } => {
                let fault = gate.fault(name);
                gate.queue(fault).await;
                if !gate.pass("ledger", name) {
                    return Err(LedgerError::Dead);
                }
                let result = if let Some(error) = refused(fault) {
                    Err(error)
                } else {
                    let connection = lock(shared)?;
                    connection.execute_batch("BEGIN IMMEDIATE")?;
                    match savepoint(&connection, work) {
                        Ok(_) if fault == Some(LedgerFault::Commit) => {
                            connection.execute_batch("ROLLBACK")?;
                            Err(LedgerError::Unavailable("COMMIT failed".into()))
                        }
                        Ok(value) => connection.execute_batch("COMMIT").map(|()| value).map_err(LedgerError::from),
                        Err(error) => {
                            // SQLite has ended the transaction itself when the disk was full
                            if !connection.is_autocommit() {
                                connection.execute_batch("ROLLBACK")?;
                            }
                            Err(error)
                        }
                    }
                };
                // the other side of the transaction: it is durable, and nobody may have been told
                if !gate.pass("ledger committed", name) {
                    return Err(LedgerError::Dead);
                }
                result
            }
        }
    }

    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        match &**self {
            Engine::Inline { shared, gate } => {
                // no gate: to die at a read is to die at the call before it
                if !gate.is_alive() {
                    return Err(LedgerError::Dead);
                }
                let fault = gate.fault("read").filter(|fault| !matches!(fault, LedgerFault::Locked(_)));
                if let Some(error) = refused(fault) {
                    return Err(error);
                }
                let result = work(&*lock(shared)?);
                gate.linger(fault).await;
                result
            }
            Engine::Thread { .. } => {
                let engine = Arc::clone(self);
                let run = move || {
                    let Engine::Thread { readers, path, .. } = &*engine else { return Err(ended()) };
                    let kept = lock(readers)?.pop();
                    let connection = match kept {
                        Some(connection) => connection,
                        None => open::reader(path)?,
                    };
                    let result = work(&connection);
                    let mut readers = lock(readers)?;
                    if readers.len() < 8 {
                        readers.push(connection);
                    }
                    result
                };
                tokio::task::spawn_blocking(run).await.map_err(|error| LedgerError::Broken(error.to_string()))?
            }
        }
    }
}

/// The error of a call that does nothing, in the crash test.
fn refused(fault: Option<LedgerFault>) -> Option<LedgerError> {
    match fault? {
        LedgerFault::Call => Some(LedgerError::Unavailable("disk I/O error".into())),
        LedgerFault::Full => Some(LedgerError::Full("database or disk is full".into())),
        LedgerFault::Locked(_) => Some(LedgerError::Unavailable("database is locked".into())),
        LedgerFault::Commit | LedgerFault::Slow(_) => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>, LedgerError> {
    mutex.lock().map_err(|_| LedgerError::Broken("a panic happened inside a ledger call".into()))
}

fn ended() -> LedgerError {
    LedgerError::Broken("the ledger's writer thread has ended".into())
}

fn run(connection: Connection, queue: &mpsc::Receiver<Work>, counters: &Counters) {
    while let Ok(first) = queue.recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            let error = LedgerError::from(error);
            // those that came while another process had its turn would each wait as long again, one after the other: with some hundred
            // loops their turns would be an hour apart
            for waiting in std::iter::once(first).chain(queue.try_iter().take(WAITING)) {
                (waiting(Err(error.clone())).answer)(Ok(()));
            }
            continue;
        }
        let mut answers = Vec::new();
        let mut transactions = 0;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let before = connection.total_changes();
            let share = job(Ok(&connection));
            transactions += u64::from(share.done && connection.total_changes() > before);
            answers.push(share.answer);
            // SQLite ends the whole transaction itself when the disk is full: then nobody of this group is in it
            if !connection.is_autocommit() && answers.len() < GROUP {
                next = queue.try_recv().ok();
            }
        }
        let commit = if connection.is_autocommit() {
            Err(LedgerError::Full("the transaction was undone".into()))
        } else {
            connection.execute_batch("COMMIT").map_err(LedgerError::from)
        };
        if commit.is_err() && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        if commit.is_ok() && transactions > 0 {
            counters.transactions.fetch_add(transactions, Ordering::Relaxed);
            counters.commits.fetch_add(1, Ordering::Relaxed);
        }
        for answer in answers {
            answer(commit.clone());
        }
    }
}

/// One caller's share of a group: undone alone when it fails.
fn savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    connection.execute_batch("SAVEPOINT caller")?;
    match work(connection) {
        Ok(value) => {
            connection.execute_batch("RELEASE caller")?;
            Ok(value)
        }
        Err(error) => {
            // after SQLITE_FULL or an I/O error SQLite may have rolled back everything itself
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK TO caller; RELEASE caller")?;
            }
            Err(error)
        }
    }
}

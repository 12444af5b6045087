//! The group of a COMMIT, in a file: who shares it, what its failure means for each of them, what is counted.

use std::sync::mpsc;

use futures_util::FutureExt;

use super::*;

fn open(dir: &Path) -> (DirectoryLock, Ledger) {
    (lock(dir).unwrap(), Ledger::open(dir).unwrap())
}

fn put(c: &Connection, key: &str) -> Result<(), LedgerError> {
    c.execute("INSERT INTO meta VALUES (?1, 1)", [key])?;
    Ok(())
}

/// Calls that certainly share one COMMIT: the first one waits inside the transaction until the others are in the queue.
async fn together<F>(ledger: &Ledger, jobs: Vec<F>) -> Vec<Result<(), LedgerError>>
where
    F: FnOnce(&Connection) -> Result<(), LedgerError> + Send + 'static,
{
    let (go, wait) = mpsc::channel::<()>();
    let (inside, entered) = tokio::sync::oneshot::channel();
    let first = ledger.clone();
    let first = async move {
        let held = first.write("test", move |_| {
            let _ = inside.send(());
            wait.recv().map_err(|_| LedgerError::Broken("nobody let it go".into()))
        });
        held.await
    };
    let rest = async {
        entered.await.unwrap();
        let mut calls: Vec<_> = jobs.into_iter().map(|job| Box::pin(ledger.write("test", job))).collect();
        for call in &mut calls {
            // the first poll puts the job into the queue
            assert!(call.now_or_never().is_none());
        }
        go.send(()).unwrap();
        futures_util::future::join_all(calls).await
    };
    let (first, mut results) = tokio::join!(first, rest);
    results.insert(0, first);
    results
}

#[tokio::test]
async fn a_commit_that_fails_is_an_error_to_every_caller_of_its_group_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_lock, ledger) = open(dir.path());
    let jobs: Vec<_> = (0..5)
        .map(|n| {
            move |c: &Connection| {
                put(c, &format!("k{n}"))?;
                if n == 2 {
                    // a deferred constraint is looked at by COMMIT alone: this caller's own part succeeds
                    c.execute_batch("PRAGMA defer_foreign_keys = ON")?;
                    c.execute("INSERT INTO delivery (sink, content, stream, created) VALUES (999, 999, 999, 0)", [])?;
                }
                Ok(())
            }
        })
        .collect();
    let results = together(&ledger, jobs).await;
    assert_eq!(results.len(), 6);
    for result in results {
        let words = result.unwrap_err().to_string();
        assert!(words.contains("FOREIGN KEY constraint failed"), "{words}");
    }
    assert_eq!(ledger.commits(), Commits::default());
    let left = |c: &Connection| {
        let sql = "SELECT (SELECT count(*) FROM meta WHERE key LIKE 'k%') + (SELECT count(*) FROM delivery)";
        Ok(c.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(ledger.read(left).await.unwrap(), 0, "what one of them wrote is in the ledger");
    // the next group is a new transaction
    ledger.write("test", |c| put(c, "k9")).await.unwrap();
    assert_eq!(ledger.read(left).await.unwrap(), 1);
}

#[tokio::test]
async fn what_shares_a_commit_is_counted_and_what_changes_nothing_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (_lock, ledger) = open(dir.path());
    let jobs: Vec<_> = (0..6)
        .map(|n| {
            move |c: &Connection| match n {
                0 => Ok(()),
                1 => put(c, "undone").and(Err(LedgerError::Unavailable("asked to fail".into()))),
                n => put(c, &format!("k{n}")),
            }
        })
        .collect();
    let results = together(&ledger, jobs).await;
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    assert_eq!(ledger.commits(), Commits { transactions: 4, commits: 1 });
    ledger.write("test", |_| Ok(())).await.unwrap();
    assert_eq!(ledger.commits().commits, 1, "nothing was written");
    ledger.write("test", |c| put(c, "alone")).await.unwrap();
    assert_eq!(ledger.commits(), Commits { transactions: 5, commits: 2 });
}

/// Each would wait 10 s for its turn: 500 loops one after the other an hour and more, and each of them would be taken for one that hangs.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the file is locked in real time")]
async fn while_another_process_has_the_file_locked_all_who_wait_are_told_with_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (_lock, ledger) = open(dir.path());
    let patience = std::time::Duration::from_millis(500);
    ledger.write("test", move |c| Ok(c.busy_timeout(patience)?)).await.unwrap();
    let other = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    let calls = (0..40).map(|n| ledger.write("test", move |c| put(c, &format!("k{n}"))));
    let results = futures_util::future::join_all(calls).await;
    let locked = |result: &Result<(), LedgerError>| matches!(result, Err(error) if error.passes());
    assert!(results.iter().all(locked), "{results:?}");
    // one after the other it were 20 s
    assert!(begun.elapsed() < 10 * patience, "{:?}", begun.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    ledger.write("test", |c| put(c, "k0")).await.unwrap();
}

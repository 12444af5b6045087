//! The confirmation: what a sink has settled becomes delivered, what it refused goes to quarantine (design §4, 6).

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, LedgerError, Millis, Refused, deliveries::finish_content, quarantine};

/// How far one sink came in one content. Positions are records of the stored body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Key of the content.
    pub content: i64,
    /// The generation of the body that was read.
    pub generation: i64,
    /// The first position settled now; must be where the delivery stands.
    pub from: i64,
    /// One past the last position settled now.
    pub to: i64,
    /// Of these: taken by the sink.
    pub delivered: u64,
    /// Not wanted by the sink's filter.
    pub filtered: u64,
    /// Copies that the sink gets, or got, with another content.
    pub skipped: u64,
    /// Refused by the sink and kept: each comes as a [`Refused`] with the same confirmation.
    pub quarantined: u64,
}

impl Ledger {
    /// Records what `sink` has settled; only now is it delivered. Everything in one transaction: progress, quarantine and books.
    ///
    /// Says for each step whether it was applied: one whose delivery was lost or whose body was dropped meanwhile is passed over, and
    /// what was refused in it with it. Every other step must stand where its delivery stands and bring what was refused in it, and every
    /// `Refused` must lie in one of the steps.
    pub async fn confirm(
        &self,
        sink: i64,
        progress: Vec<Progress>,
        refused: Vec<Refused>,
        now: Millis,
    ) -> Result<Vec<bool>, LedgerError> {
        self.write("confirm", move |connection| {
            let (mut kept, mut applied) = (0, Vec::with_capacity(progress.len()));
            for step in &progress {
                let inside =
                    |one: &&Refused| one.content == step.content && (step.from..step.to).contains(&one.position);
                let inside: Vec<&Refused> = refused.iter().filter(inside).collect();
                kept += inside.len();
                let open = is_open(connection, sink, step, inside.len() as u64)?;
                if open {
                    // first what was refused: the confirmation of a content's end takes its body along
                    quarantine::keep(connection, sink, &inside, now)?;
                    confirm(connection, sink, step)?;
                }
                applied.push(open);
            }
            if kept != refused.len() {
                return Err(LedgerError::Broken(format!("{} refused records lie in no step", refused.len() - kept)));
            }
            Ok(applied)
        })
        .await
    }
}

/// Whether a step can be applied; false: its delivery was lost, or its body dropped, while the batch was under way.
fn is_open(connection: &Connection, sink: i64, step: &Progress, refused: u64) -> Result<bool, LedgerError> {
    let (records, generation): (i64, i64) = connection
        .prepare_cached("SELECT ifnull(records, -1), generation FROM content WHERE id = ?")?
        .query_row([step.content], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| unfit(step))?;
    let delivery = connection
        .prepare_cached("SELECT progress, ready, lost FROM delivery WHERE sink = ?1 AND content = ?2")?
        .query_row([sink, step.content], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?))
        })
        .optional()?;
    match delivery {
        // it expired while the batch was under way: the gap stands, and says more than is lost
        Some((_, _, true)) => return Ok(false),
        // dropped and fetched again while the batch was under way: the positions of the new body may be others
        Some((0, true, false)) if generation != step.generation => return Ok(false),
        // its body was dropped while the batch was under way, which raises the generation: settled as a whole, or sent again
        Some((progress, false, false)) if progress == step.from => {
            let whole = step.from == 0 && step.to == records && generation == step.generation + 1;
            if !whole || refused != step.quarantined {
                return Ok(false);
            }
        }
        Some((progress, true, false)) if progress == step.from => {}
        // the body that was fetched again has nothing in it for this sink
        None if generation != step.generation => return Ok(false),
        _ => return Err(unfit(step)),
    }
    let settled = step.delivered + step.filtered + step.skipped + step.quarantined;
    if settled != (step.to - step.from) as u64 || step.to > records || refused != step.quarantined {
        return Err(unfit(step));
    }
    Ok(true)
}

fn confirm(connection: &Connection, sink: i64, step: &Progress) -> Result<(), LedgerError> {
    let (stream, bytes, records, ready): (i64, i64, i64, bool) = connection
        .prepare_cached(
            "SELECT c.stream, c.bytes, c.records, d.ready FROM content c JOIN delivery d ON d.content = c.id WHERE c.id = ?2 AND d.sink = ?1",
        )?
        .query_row([sink, step.content], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    connection
        .prepare_cached("UPDATE delivery SET progress = ?3 WHERE sink = ?1 AND content = ?2")?
        .execute(params![sink, step.content, step.to])?;
    connection
        .prepare_cached(
            "UPDATE account SET delivered = delivered + ?3, filtered = filtered + ?4, skipped = skipped + ?5, quarantined = quarantined + ?6
             WHERE stream = ?1 AND sink = ?2",
        )?
        .execute(params![
            stream,
            sink,
            step.delivered as i64,
            step.filtered as i64,
            step.skipped as i64,
            step.quarantined as i64
        ])?;
    if step.to == records {
        connection
            .prepare_cached("DELETE FROM delivery WHERE sink = ?1 AND content = ?2")?
            .execute([sink, step.content])?;
        if ready {
            connection.prepare_cached("UPDATE sink SET ahead = ahead - ?2 WHERE id = ?1")?.execute([sink, bytes])?;
        }
        finish_content(connection, step.content)?;
    }
    Ok(())
}

fn unfit(step: &Progress) -> LedgerError {
    LedgerError::Broken(format!("a confirmation does not fit the delivery it is for: {step:?}"))
}

//! After every transaction, the rows that it touched: triggers note them, and the keeper looks at them before anything goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use auditferry::{
    config::Filter,
    fetch::chunk::{self, Frame},
    ledger::{Ledger, Memory, Millis},
    simulator::Simulator,
    world::Gate,
};
use auditferry_contract::EventId;
use futures_util::FutureExt;
use jiff::Timestamp;
use rusqlite::Row;

use crate::{
    rows::blob,
    sinks::Destination,
    stage::{SinkPlan, Stage},
    world::VirtualClock,
};

/// What no transaction may do at all has its words here; what needs a look at the world is noted with its numbers.
const TRIGGERS: &str = "
CREATE TABLE IF NOT EXISTS touched (what TEXT NOT NULL, row INTEGER, sink INTEGER, before INTEGER, after INTEGER) STRICT;
CREATE TRIGGER IF NOT EXISTS touched_cursor AFTER UPDATE OF cursor ON stream WHEN NEW.origin = 'listed' AND NEW.cursor <> OLD.cursor
  BEGIN INSERT INTO touched VALUES ('cursor', NEW.id, NULL, OLD.cursor, NEW.cursor); END;
CREATE TRIGGER IF NOT EXISTS touched_progress AFTER UPDATE OF progress ON delivery WHEN NEW.progress <> OLD.progress
  BEGIN INSERT INTO touched VALUES ('progress', NEW.content, NEW.sink, OLD.progress, NEW.progress); END;
CREATE TRIGGER IF NOT EXISTS touched_finished AFTER DELETE ON delivery WHEN OLD.lost = 0
  BEGIN INSERT INTO touched VALUES ('finished', OLD.content, OLD.sink, OLD.progress, NULL); END;
CREATE TRIGGER IF NOT EXISTS touched_lost AFTER UPDATE OF lost ON delivery WHEN NEW.lost = 1 AND OLD.lost = 0
  BEGIN INSERT INTO touched VALUES ('lost', NEW.content, NEW.sink, OLD.created, NEW.stream); END;
CREATE TRIGGER IF NOT EXISTS touched_gap_opened AFTER INSERT ON gap
  BEGIN INSERT INTO touched VALUES ('gap', NEW.id, NEW.sink, NEW.stream, NULL); END;
CREATE TRIGGER IF NOT EXISTS touched_gap_grown AFTER UPDATE OF changed_at ON gap
  BEGIN INSERT INTO touched VALUES ('gap', NEW.id, NEW.sink, NEW.stream, NULL); END;
CREATE TRIGGER IF NOT EXISTS touched_gap AFTER DELETE ON gap
  BEGIN INSERT INTO touched VALUES ('I3: a gap was deleted', OLD.id, OLD.sink, NULL, NULL); END;
CREATE TRIGGER IF NOT EXISTS touched_gap_smaller AFTER UPDATE OF from_time, to_time, records ON gap
  WHEN NEW.from_time > OLD.from_time OR NEW.to_time < OLD.to_time OR NEW.records < OLD.records
  BEGIN INSERT INTO touched VALUES ('I3: a gap became smaller', OLD.id, OLD.sink, NULL, NULL); END;
CREATE TRIGGER IF NOT EXISTS touched_account AFTER UPDATE OF delivered, filtered, lost ON account
  WHEN NEW.delivered < OLD.delivered OR NEW.filtered < OLD.filtered OR NEW.lost < OLD.lost
  BEGIN INSERT INTO touched VALUES ('books: what was delivered, filtered or lost became less', NEW.stream, NEW.sink, NULL, NULL); END;
CREATE TRIGGER IF NOT EXISTS touched_books AFTER UPDATE OF owed, delivered, filtered, skipped, quarantined, lost, requeued ON account
  BEGIN INSERT INTO touched VALUES ('books', NEW.stream, NEW.sink, NULL, NULL); END;
";

/// A mutant of the ledger itself: a loss beside another one is written in no gap.
pub const LOST_BESIDE: &str = "a loss beside another is in no gap";
const NOTHING_GROWS: &str =
    "CREATE TRIGGER nothing_grows BEFORE UPDATE OF changed_at ON gap BEGIN SELECT RAISE(IGNORE); END";

/// Another: a gap says one record less than was lost. What forbids gaps to become smaller is away, since it would notice this first.
pub const COUNTS_SHORT: &str = "a gap says one record less than was lost";
const ONE_LESS: &str = "
CREATE TRIGGER touched_gap_smaller AFTER DELETE ON lost_content BEGIN SELECT 1; END;
CREATE TRIGGER one_less AFTER INSERT ON gap WHEN NEW.records > 0
  BEGIN UPDATE gap SET records = records - 1 WHERE id = NEW.id; END";

/// Scenarios filter by record type only. What nobody could read passes all filters.
fn wants(filter: &Filter, frame: &Frame<'_>) -> bool {
    let kind = || serde_json::from_slice::<serde_json::Value>(frame.record).ok()?["RecordType"].as_i64();
    filter.is_all() || frame.unreadable || kind().is_some_and(|kind| filter.record_type.contains(&kind))
}

struct Note {
    what: String,
    row: i64,
    sink: i64,
    before: i64,
    after: i64,
}

/// What the looks need of the stage; they happen within a running life.
pub struct Touched {
    memory: Memory,
    clock: Arc<VirtualClock>,
    simulator: Arc<Mutex<Simulator>>,
    tenants: Vec<String>,
    /// The fakes; what a real file holds is looked at after each life.
    fakes: BTreeMap<&'static str, (Destination, Filter)>,
}

impl Touched {
    /// Makes a mutant of the ledger.
    pub fn mutate(stage: &Stage, mutant: Option<&str>) {
        let triggers = match mutant {
            Some(LOST_BESIDE) => NOTHING_GROWS,
            Some(COUNTS_SHORT) => ONE_LESS,
            _ => return,
        };
        stage.memory.with(|connection| connection.execute_batch(triggers)).unwrap();
    }

    /// Notes what is touched from now on.
    pub fn begin(stage: &Stage, sinks: &[SinkPlan]) -> Touched {
        stage.memory.with(|connection| connection.execute_batch(TRIGGERS)).unwrap();
        let fakes = sinks.iter().filter(|plan| plan.file.is_none());
        Touched {
            memory: stage.memory.clone(),
            clock: Arc::clone(&stage.clock),
            simulator: Arc::clone(&stage.simulator),
            tenants: stage.profile.tenants.iter().map(|tenant| tenant.id.clone()).collect(),
            fakes: fakes
                .map(|plan| (plan.name, (stage.destinations[plan.name].clone(), plan.filter.clone())))
                .collect(),
        }
    }

    /// Looks at what the last transaction touched. The error begins with the invariant's name.
    pub fn look(&self) -> Result<(), String> {
        let (mut books, mut gaps) = (false, BTreeSet::new());
        let notes = self.notes().map_err(|error| error.to_string())?;
        for note in &notes {
            match &*note.what {
                "cursor" => self.cursor_passed(note)?,
                "progress" => self.taken(note)?,
                "finished" => self.finished(note)?,
                "lost" => self.lost(note, &notes)?,
                "gap" => drop(gaps.insert((note.before, note.sink))),
                "books" => books = true,
                never => return Err(format!("{never}: row {}, sink {}", note.row, note.sink)),
            }
        }
        if books {
            self.close()?;
        }
        gaps.into_iter().try_for_each(|(stream, sink)| self.counted(stream, sink))
    }

    /// I3: the gaps of a sink say how many records are lost to it, unless one holds a content that was never read.
    fn counted(&self, stream: i64, sink: i64) -> Result<(), String> {
        let all = "SELECT a.lost, sum(g.records), count(*) > count(g.records), EXISTS (
               SELECT 1 FROM lost_content l WHERE l.stream = a.stream AND l.sink = a.sink)
             FROM account a JOIN gap g ON g.stream = a.stream AND g.sink = a.sink WHERE a.stream = ?1 AND a.sink = ?2 GROUP BY a.stream";
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, bool>(2)?, row.get::<_, bool>(3)?))
        };
        for (lost, said, unknown, unread) in self.ask(all, [stream, sink], read)? {
            let said = said.unwrap_or_default();
            if unknown != unread || if unknown { said > lost } else { said != lost } {
                let more = if unknown { " and some more" } else { "" };
                return Err(format!(
                    "I3: {lost} records of stream {stream} are lost to sink {sink}, and its gaps say {said}{more}"
                ));
            }
        }
        Ok(())
    }

    fn notes(&self) -> rusqlite::Result<Vec<Note>> {
        self.memory.with(|connection| {
            let mut all = connection.prepare_cached(
                "SELECT what, ifnull(row, 0), ifnull(sink, 0), ifnull(before, 0), ifnull(after, 0) FROM touched",
            )?;
            let read = |row: &Row<'_>| {
                Ok(Note {
                    what: row.get(0)?,
                    row: row.get(1)?,
                    sink: row.get(2)?,
                    before: row.get(3)?,
                    after: row.get(4)?,
                })
            };
            let notes: rusqlite::Result<Vec<Note>> = all.query_map([], read)?.collect();
            let notes = notes?;
            if !notes.is_empty() {
                connection.prepare_cached("DELETE FROM touched")?.execute([])?;
            }
            Ok(notes)
        })
    }

    fn ask<T>(
        &self,
        query: &str,
        values: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, String> {
        let found = self.memory.with(|it| it.prepare_cached(query)?.query_map(values, |row| read(row))?.collect());
        found.map_err(|error| format!("{error} in {query}"))
    }

    /// I1: between the cursor as it was and as it is, nothing was visible that is not known, or in a gap.
    fn cursor_passed(&self, note: &Note) -> Result<(), String> {
        let (from, to) = (note.before, note.after);
        if to < from {
            return Err(format!("I1: the cursor of stream {} went back from {from} to {to}", note.row));
        }
        let owners = "SELECT t.guid, (SELECT min(a.since) FROM account a JOIN sink k ON k.id = a.sink
             WHERE a.stream = s.id AND a.active = 1 AND k.retired_at IS NULL) FROM stream s JOIN tenant t ON t.id = s.tenant WHERE s.id = ?";
        let owner =
            self.ask(owners, [note.row], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<Millis>>(1)?)))?;
        let Some((guid, Some(since))) = owner.into_iter().next() else { return Ok(()) };
        let gaps = "SELECT from_time, to_time FROM gap WHERE stream = ? AND sink IS NULL AND content IS NULL";
        let gaps = self.ask(gaps, [note.row], |row| Ok((row.get::<_, Millis>(0)?, row.get::<_, Millis>(1)?)))?;
        let now = Timestamp::from_millisecond(self.clock.millis()).map_err(|error| error.to_string())?;
        let simulator = self.simulator.lock().unwrap();
        let passed = simulator.truth(now).filter(|truth| {
            let (created, visible) = (truth.content.created, truth.content.visible);
            self.tenants[truth.tenant] == guid
                && truth.readable
                && !truth.lost
                && visible <= created
                && (from.max(since)..to).contains(&created)
                && !gaps.iter().any(|(from, to)| (*from..*to).contains(&created))
        });
        for truth in passed {
            let id = &truth.content.id;
            let known = "SELECT count(*) FROM content WHERE stream = ? AND content_id = ?";
            if self.ask(known, (note.row, id), |row| row.get::<_, i64>(0))? == [0] {
                return Err(format!(
                    "I1: the cursor went from {from} to {to}, past content {id} of {}",
                    truth.content.created
                ));
            }
        }
        Ok(())
    }

    fn fake(&self, sink: i64) -> Result<Option<&(Destination, Filter)>, String> {
        let names = self
            .ask("SELECT name FROM sink WHERE id = ? AND retired_at IS NULL", [sink], |row| row.get::<_, String>(0))?;
        Ok(names.first().and_then(|name| self.fakes.get(&**name)))
    }

    /// I2: the sink has taken what it has just been moved past.
    fn taken(&self, note: &Note) -> Result<(), String> {
        let Some((destination, filter)) = self.fake(note.sink)? else { return Ok(()) };
        if note.after < note.before {
            return Err(format!(
                "I2: the progress of content {} went back from {} to {}",
                note.row, note.before, note.after
            ));
        }
        let copies = self.ask("SELECT position FROM copy WHERE content = ?", [note.row], |row| row.get(0))?;
        let copies: BTreeSet<i64> = copies.into_iter().collect();
        let chunks =
            "SELECT first, body FROM chunk WHERE content = ?1 AND first + records > ?2 AND first < ?3 ORDER BY seq";
        let chunks = self.ask(chunks, (note.row, note.before, note.after), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        for (first, body) in chunks {
            let opened = chunk::open(&body).map_err(|error| error.to_string())?;
            for (position, frame) in (first..).zip(chunk::frames(&opened)) {
                let frame = frame.map_err(|error| error.to_string())?;
                let (id, moved) =
                    (frame.id, (note.before..note.after).contains(&position) && !copies.contains(&position));
                if moved && !destination.knows(id) && wants(filter, &frame) && !self.kept(note.sink, id)? {
                    return Err(format!("I2: it moved past {id} of content {}, which the sink never took", note.row));
                }
            }
        }
        Ok(())
    }

    /// I2: what a sink has finished, it has taken.
    fn finished(&self, note: &Note) -> Result<(), String> {
        let there = self.ask("SELECT count(*) FROM content WHERE id = ?", [note.row], |row| row.get::<_, i64>(0))?;
        if there == [0] {
            return Err(format!("I3: content {} was forgotten, and sink {} was owed it", note.row, note.sink));
        }
        let unread = "SELECT count(*) FROM content WHERE id = ? AND records IS NULL";
        if self.ask(unread, [note.row], |row| row.get::<_, i64>(0))? != [0] {
            return Err(format!("I3: content {} was finished for sink {}, and never read", note.row, note.sink));
        }
        let Some((destination, filter)) = self.fake(note.sink)? else { return Ok(()) };
        // what a filter kept back has left its body by now
        if !filter.is_all() {
            return Ok(());
        }
        let own = "SELECT s.id FROM seen s JOIN content c ON c.id = s.content WHERE c.id = ? AND c.state IN (2, 3)";
        for id in self.ask(own, [note.row], blob)? {
            if !destination.knows(id) && !self.kept(note.sink, id)? {
                return Err(format!("I2: it finished content {} with {id}, which the sink never took", note.row));
            }
        }
        Ok(())
    }

    /// In this sink's quarantine, or owed again out of it.
    fn kept(&self, sink: i64, id: EventId) -> Result<bool, String> {
        let kept = "SELECT count(*) FROM quarantine WHERE sink = ? AND event = ?";
        if self.ask(kept, (sink, &id.0[..]), |row| row.get::<_, i64>(0))? != [0] {
            return Ok(true);
        }
        let again = "SELECT k.body FROM delivery d JOIN content c ON c.id = d.content JOIN chunk k ON k.content = c.id
             JOIN stream s ON s.id = c.stream WHERE d.sink = ? AND d.lost = 0 AND s.origin = 'requeue'";
        for body in self.ask(again, [sink], |row| row.get::<_, Vec<u8>>(0))? {
            let opened = chunk::open(&body).map_err(|error| error.to_string())?;
            if chunk::frames(&opened).filter_map(Result::ok).any(|frame| frame.id == id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// I3: each loss opened a gap, or made one grow, in the same transaction, and what was lost as expired had expired by the service's clock.
    fn lost(&self, note: &Note, all: &[Note]) -> Result<(), String> {
        let (content, sink, stream) = (note.row, note.sink, note.after);
        let losses = all.iter().filter(|it| it.what == "lost" && (it.sink, it.after) == (sink, stream)).count();
        let written: Vec<i64> = all
            .iter()
            .filter(|it| it.what == "gap" && (it.sink, it.before) == (sink, stream))
            .map(|it| it.row)
            .collect();
        if written.len() < losses {
            let gaps = written.len();
            return Err(format!(
                "I3: {losses} contents, {content} among them, were lost for sink {sink}, and {gaps} gaps say so"
            ));
        }
        let gap = "SELECT g.reason, c.expires FROM gap g JOIN content c ON c.id = ?3
             WHERE g.id = ?1 AND ?2 BETWEEN g.from_time AND g.to_time";
        let service_now = self.clock.millis() + self.simulator.lock().unwrap().profile().skew_ms;
        let mut within = false;
        for id in written {
            let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Millis>(1)?));
            for (reason, expires) in self.ask(gap, (id, note.before, content), read)? {
                within = true;
                if reason.starts_with("expired") && expires > service_now {
                    let early = (expires - service_now) / 1000;
                    return Err(format!("I3: content {content} was given up {early} s before it expired"));
                }
            }
        }
        within
            .then_some(())
            .ok_or_else(|| format!("I3: content {content} was lost for sink {sink}, and no gap says so"))
    }

    fn close(&self) -> Result<(), String> {
        let ledger = Ledger::in_memory(&self.memory, Gate::default());
        let books = ledger.books().now_or_never().ok_or("the books have to be waited for")?;
        match books.map_err(|error| error.to_string())?.imbalances().first() {
            None => Ok(()),
            Some(open) => Err(format!("books: {open}")),
        }
    }
}

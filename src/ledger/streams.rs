//! Streams, sinks and the admission of contents (design §4, 1 and 2).

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{
    Ledger, LedgerError, Millis, gaps, remove,
    sinks::{self, SinkRow, SinkSpec},
};

/// A stream as configured.
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// Tenant GUID, lower case.
    pub tenant: String,
    /// As `Audit.General`.
    pub content_type: String,
    /// For a stream that is new: nothing published before is asked for.
    pub since: Millis,
}

/// A stream as the loops know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRow {
    /// Key.
    pub id: i64,
    /// Tenant GUID.
    pub tenant: String,
    /// As `Audit.General`.
    pub content_type: String,
    /// Everything that the service listed before this is in the ledger (I1).
    pub cursor: Millis,
    /// Nothing published before this is owed to anybody: listing starts here.
    pub lower_bound: Millis,
    /// End of the last complete listing.
    pub listed: Option<Millis>,
    /// When the last complete listing of the last 7 days began.
    pub listed_past: Option<Millis>,
    /// Whether its subscription was ever seen enabled.
    pub enabled: bool,
}

/// One content as the service lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Opaque.
    pub content_id: String,
    /// Where the body is; opaque.
    pub uri: String,
    /// `contentCreated`.
    pub created: Millis,
    /// `contentExpiration`.
    pub expires: Millis,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The stream that was listed.
    pub stream: i64,
    /// The page.
    pub contents: Vec<Listed>,
    /// With the last page of a window only: its end.
    pub cursor: Option<Millis>,
    /// Once the last window of the 7 days is listed: when that listing began.
    pub listed_past: Option<Millis>,
    /// Now.
    pub now: Millis,
}

impl Ledger {
    /// Brings streams and sinks of the configuration into the ledger; what is new is owed from its start.
    pub async fn register(
        &self,
        streams: Vec<StreamSpec>,
        sinks: Vec<SinkSpec>,
        now: Millis,
    ) -> Result<(Vec<StreamRow>, Vec<SinkRow>), LedgerError> {
        let past = !self.engine.mutant("a new sink is not owed the past");
        self.write("register", move |connection| {
            let new_sinks = sinks::register(connection, &sinks, now)?;
            connection.prepare_cached("UPDATE stream SET configured = 0")?.execute([])?;
            for spec in &streams {
                register_stream(connection, spec, now)?;
            }
            own_stream(connection, None, "agent", now)?;
            open_accounts(connection, &sinks, &new_sinks, past, now)?;
            connection.prepare_cached("UPDATE account SET active = 0 WHERE active < 1")?.execute([])?;
            let mut rows = Vec::new();
            for spec in &streams {
                rows.push(stream_row(connection, &spec.tenant, &spec.content_type)?);
            }
            Ok((rows, sinks::rows(connection)?))
        })
        .await
    }

    /// The stream as it stands now.
    pub async fn stream(&self, tenant: &str, content_type: &str) -> Result<StreamRow, LedgerError> {
        let (tenant, content_type) = (tenant.to_owned(), content_type.to_owned());
        self.read(move |connection| stream_row(connection, &tenant, &content_type)).await
    }

    /// One page of a listing; from here its contents are owed. The cursor moves with the last page only (I1).
    pub async fn admit(&self, admission: Admission) -> Result<u64, LedgerError> {
        self.write("admit", move |connection| admit(connection, &admission)).await
    }

    /// Notes that the subscription is enabled now; when it had been found disabled, the suspected gap is closed.
    /// `until`: now, by the service's clock.
    pub async fn subscription_enabled(
        &self,
        stream: i64,
        was_off: bool,
        until: Millis,
        now: Millis,
    ) -> Result<(), LedgerError> {
        let unsaid = self.engine.mutant("a subscription that was off is no gap");
        self.write("subscription", move |connection| {
            let (enabled, from): (bool, Millis) = connection
                .prepare_cached("SELECT enabled, ifnull(listed, cursor) FROM stream WHERE id = ?")?
                .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if was_off && enabled && !unsaid {
                // what was published meanwhile can't be had: a stopped subscription is not filled up afterwards
                gaps::record(
                    connection,
                    &gaps::Found::window(stream, from, until, "subscription disabled", true),
                    now,
                )?;
            }
            connection.prepare_cached("UPDATE stream SET enabled = 1 WHERE id = ?")?.execute([stream])?;
            Ok(())
        })
        .await
    }

    /// Notes that the subscription was found off after it had been on: the gap is known from here, whatever becomes of the
    /// request that starts it again.
    /// `until`: now, by the service's clock.
    pub async fn subscription_off(&self, stream: i64, until: Millis, now: Millis) -> Result<(), LedgerError> {
        let unsaid = self.engine.mutant("a subscription that was off is no gap");
        self.write("subscription off", move |connection| {
            let (enabled, from): (bool, Millis) = connection
                .prepare_cached("SELECT enabled, ifnull(listed, cursor) FROM stream WHERE id = ?")?
                .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if enabled && !unsaid {
                gaps::record(
                    connection,
                    &gaps::Found::window(stream, from, until, "subscription disabled", true),
                    now,
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Records that a window could not be listed before the service stopped offering it, and moves the cursor past it.
    /// `suspected`: it was never listed, so nothing may have been there.
    pub async fn unlisted(
        &self,
        stream: i64,
        from: Millis,
        to: Millis,
        suspected: bool,
        now: Millis,
    ) -> Result<(), LedgerError> {
        self.write("unlisted", move |connection| {
            gaps::record(
                connection,
                &gaps::Found::window(stream, from, to, "not listed within 7 days", suspected),
                now,
            )?;
            connection
                .prepare_cached("UPDATE stream SET cursor = max(cursor, ?2) WHERE id = ?1")?
                .execute(params![stream, to])?;
            Ok(())
        })
        .await
    }
}

fn register_stream(connection: &Connection, spec: &StreamSpec, now: Millis) -> Result<(), LedgerError> {
    connection
        .prepare_cached("INSERT INTO tenant (guid) VALUES (?) ON CONFLICT DO NOTHING")?
        .execute([&spec.tenant])?;
    let tenant: i64 = connection
        .prepare_cached("SELECT id FROM tenant WHERE guid = ?")?
        .query_row([&spec.tenant], |row| row.get(0))?;
    remove::come_back(connection, tenant, spec.since, now)?;
    connection.prepare_cached("INSERT INTO stream (tenant, origin, content_type, since, cursor, registered) VALUES (?1, 'listed', ?2, ?3, ?3, ?4) ON CONFLICT DO NOTHING")?.execute(params![tenant, spec.content_type, spec.since, now],
    )?;
    connection
        .prepare_cached(
            "UPDATE stream SET configured = 1 WHERE tenant = ?1 AND origin = 'listed' AND content_type = ?2",
        )?
        .execute(params![tenant, spec.content_type])?;
    Ok(())
}

/// The stream of contents that are not listed by a service: the agent's own events, or a tenant's requeued records.
pub(super) fn own_stream(
    connection: &Connection,
    tenant: Option<i64>,
    origin: &str,
    now: Millis,
) -> Result<i64, LedgerError> {
    connection.prepare_cached("INSERT INTO stream (tenant, origin, content_type, since, cursor) VALUES (?1, ?2, ?2, ?3, ?3) ON CONFLICT DO NOTHING")?.execute(params![tenant, origin, now],
    )?;
    Ok(connection
        .prepare_cached("SELECT id FROM stream WHERE ifnull(tenant, 0) = ifnull(?1, 0) AND origin = ?2")?
        .query_row(params![tenant, origin], |row| row.get(0))?)
}

/// Opens the account of every configured sink on every stream that it takes and has none on.
fn open_accounts(
    connection: &Connection,
    sinks: &[SinkSpec],
    new_sinks: &[i64],
    past: bool,
    now: Millis,
) -> Result<(), LedgerError> {
    let mut streams = connection.prepare_cached(
        "SELECT s.id, t.guid, s.since, EXISTS (SELECT 1 FROM account a WHERE a.stream = s.id) OR EXISTS (SELECT 1 FROM content c WHERE c.stream = s.id), s.origin FROM stream s LEFT JOIN tenant t ON t.id = s.tenant ORDER BY s.id",
    )?;
    let streams: Vec<(i64, Option<String>, Millis, bool, String)> = streams
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
        .collect::<rusqlite::Result<_>>()?;
    // -1: was not active before; 0: is to be found active again
    connection.prepare_cached("UPDATE account SET active = active - 1")?.execute([])?;
    for spec in sinks {
        let sink: i64 = connection
            .prepare_cached("SELECT id FROM sink WHERE name = ? AND retired_at IS NULL")?
            .query_row([&spec.name], |row| row.get(0))?;
        for (stream, tenant, stream_since, known, origin) in &streams {
            let taken = match (&spec.tenants, tenant) {
                (Some(tenants), Some(tenant)) => tenants.contains(tenant),
                _ => true,
            };
            if !taken {
                continue;
            }
            // a new stream is owed from its own start; a new sink from its `start`, else from now
            let since = match spec.since {
                Some(start) if new_sinks.contains(&sink) || !known => start,
                _ if !known => *stream_since,
                _ => now,
            };
            let opened = connection
                .prepare_cached("INSERT INTO account (stream, sink, since) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute(params![stream, sink, since])?;
            if opened == 1 && origin == "listed" && past {
                owe_the_past(connection, *stream, sink, since, now)?;
            }
            // taken again after it was not: owed from now, since nothing was kept for it meanwhile
            connection
                .prepare_cached(
                    "UPDATE account SET active = 1, since = ?3 WHERE stream = ?1 AND sink = ?2 AND active = -1",
                )?
                .execute(params![stream, sink, now])?;
            connection
                .prepare_cached("UPDATE account SET active = 1 WHERE stream = ?1 AND sink = ?2")?
                .execute(params![stream, sink])?;
        }
    }
    Ok(())
}

/// Owes a sink that was added later what the service still has of what the ledger knows; bodies that are gone are fetched again. What has expired and is
/// stored for another sink is not for it: a copy of such a record elsewhere is, and can't tell whether this one came.
fn owe_the_past(
    connection: &Connection,
    stream: i64,
    sink: i64,
    since: Millis,
    now: Millis,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE content SET state = 0, generation = generation + 1, retry_at = 0, entered = 0
         WHERE stream = ?1 AND created >= ?2 AND state = 3 AND expires > ?3
           AND (SELECT origin FROM stream WHERE id = ?1) = 'listed' AND ifnull(records, 1) > 0",
        )?
        .execute(params![stream, since, now])?;
    connection
        .prepare_cached(
            "INSERT INTO delivery (sink, content, stream, created, ready)
         SELECT ?2, id, stream, created, state = 2 FROM content WHERE stream = ?1 AND created >= ?3 AND state < 3 AND expires > ?4",
        )?
        .execute(params![stream, sink, since, now])?;
    connection.prepare_cached("UPDATE account SET owed = owed + (SELECT ifnull(sum(c.records), 0) FROM delivery d JOIN content c ON c.id = d.content
           WHERE d.sink = ?2 AND d.stream = ?1) WHERE stream = ?1 AND sink = ?2")?.execute(params![stream, sink],
    )?;
    connection.prepare_cached("UPDATE sink SET ahead = ahead + (SELECT ifnull(sum(c.bytes), 0) FROM delivery d JOIN content c ON c.id = d.content
           WHERE d.sink = ?2 AND d.stream = ?1 AND d.ready = 1) WHERE id = ?2")?.execute(params![stream, sink],
    )?;
    Ok(())
}

fn stream_row(connection: &Connection, tenant: &str, content_type: &str) -> Result<StreamRow, LedgerError> {
    Ok(connection.prepare_cached("SELECT s.id, s.cursor, ifnull((SELECT min(since) FROM account WHERE stream = s.id AND active = 1), s.since), s.listed, s.listed_past, s.enabled
         FROM stream s JOIN tenant t ON t.id = s.tenant WHERE t.guid = ?1 AND s.content_type = ?2 AND s.origin = 'listed'")?.query_row(params![tenant, content_type],
        |row| {
            Ok(StreamRow {
                id: row.get(0)?,
                tenant: tenant.to_owned(),
                content_type: content_type.to_owned(),
                cursor: row.get(1)?,
                lower_bound: row.get(2)?,
                listed: row.get(3)?,
                listed_past: row.get(4)?,
                enabled: row.get(5)?,
            })
        },
    )?)
}

fn admit(connection: &Connection, admission: &Admission) -> Result<u64, LedgerError> {
    let mut owed_from = connection
        .prepare_cached("SELECT min(since) FROM account WHERE stream = ? AND active = 1")?
        .query_row([admission.stream], |row| row.get::<_, Option<Millis>>(0))
        .optional()?
        .flatten();
    // without a sink everything is remembered as done: a sink added later may still ask for it
    let owed_from = *owed_from.get_or_insert(Millis::MAX);
    let mut insert = connection.prepare_cached(
        "INSERT INTO content (stream, content_id, uri, created, expires, admitted, state)
         VALUES (:stream, :content_id, :uri, :created, :expires, :now, :state) ON CONFLICT (stream, content_id) DO NOTHING",
    )?;
    let mut refresh = connection.prepare_cached(
        "UPDATE content SET uri = :uri, expires = max(expires, :expires) WHERE stream = :stream AND content_id = :content_id AND state = 0",
    )?;
    let mut owe = connection.prepare_cached(
        "INSERT INTO delivery (sink, content, stream, created) SELECT sink, ?2, stream, ?3 FROM account WHERE stream = ?1 AND since <= ?3 AND active = 1",
    )?;
    let mut new = 0;
    for content in &admission.contents {
        let owed = content.created >= owed_from;
        if !owed && owed_from != Millis::MAX {
            continue;
        }
        let inserted = insert.execute(named_params! {
            ":stream": admission.stream, ":content_id": content.content_id, ":uri": content.uri,
            ":created": content.created, ":expires": content.expires, ":now": admission.now,
            ":state": if owed { 0 } else { 3 },
        })?;
        if inserted == 0 {
            refresh.execute(named_params! {
                ":stream": admission.stream, ":content_id": content.content_id, ":uri": content.uri, ":expires": content.expires,
            })?;
            continue;
        }
        new += 1;
        owe.execute(params![admission.stream, connection.last_insert_rowid(), content.created])?;
    }
    if let Some(newest) = admission.contents.iter().map(|content| content.created).max() {
        connection
            .prepare_cached("UPDATE stream SET newest = ?2 WHERE id = ?1 AND ifnull(newest, ?2 - 1) < ?2")?
            .execute(params![admission.stream, newest])?;
    }
    if let Some(cursor) = admission.cursor {
        connection
            .prepare_cached(
                "UPDATE stream SET cursor = max(cursor, ?2), listed = max(ifnull(listed, 0), ?2) WHERE id = ?1",
            )?
            .execute(params![admission.stream, cursor])?;
    }
    if let Some(listed_past) = admission.listed_past {
        connection
            .prepare_cached("UPDATE stream SET listed_past = ?2 WHERE id = ?1")?
            .execute(params![admission.stream, listed_past])?;
    }
    Ok(new)
}

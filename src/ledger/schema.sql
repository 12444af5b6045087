-- Schema 2. Times are milliseconds since 1970 (UTC). Every row but the agent's own hangs under one tenant.
CREATE TABLE tenant (
  id INTEGER PRIMARY KEY, guid TEXT NOT NULL UNIQUE,
  removed_at INTEGER                          -- an operator had its data removed; its books and gaps stay
) STRICT;

-- A sink is its name, until it is retired: the same name is then a new sink. `ahead`: compressed bytes stored and still owed to it.
CREATE TABLE sink (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, first_start INTEGER NOT NULL,
  configured INTEGER NOT NULL, ahead INTEGER NOT NULL DEFAULT 0,
  quarantine_bytes INTEGER NOT NULL DEFAULT 0,
  retired_at INTEGER                          -- an operator ended it; what it was owed became gaps
) STRICT;
CREATE UNIQUE INDEX sink_name ON sink (name) WHERE retired_at IS NULL;

CREATE TABLE stream (
  id INTEGER PRIMARY KEY,
  tenant INTEGER REFERENCES tenant (id),      -- null: the agent's own
  origin TEXT NOT NULL,                       -- listed | requeue | agent
  content_type TEXT NOT NULL,
  configured INTEGER NOT NULL DEFAULT 0,      -- the agent lists it
  since INTEGER NOT NULL,                     -- nothing older was asked for when the stream was new
  cursor INTEGER NOT NULL,                    -- all that the service listed before this is in `content` (I1)
  listed INTEGER,                             -- end of the last complete listing
  listed_past INTEGER,                        -- when the last complete listing of the last 7 days began
  enabled INTEGER NOT NULL DEFAULT 0,         -- was its subscription ever seen enabled
  read INTEGER NOT NULL DEFAULT 0, unselected INTEGER NOT NULL DEFAULT 0, unreadable INTEGER NOT NULL DEFAULT 0,
  copies INTEGER NOT NULL DEFAULT 0, accepted INTEGER NOT NULL DEFAULT 0, differing INTEGER NOT NULL DEFAULT 0,
  newest INTEGER,                             -- when the newest content that was ever listed was published
  registered INTEGER                          -- when it was new in the configuration, or came back
) STRICT;
CREATE UNIQUE INDEX stream_name ON stream (ifnull(tenant, 0), origin, content_type);

-- The books of one sink on one stream. `since`: what was published before is not owed. `requeued`: records that left `owed` and
-- `quarantined` here and are owed by another account, that of the stream they were requeued in.
CREATE TABLE account (
  stream INTEGER NOT NULL REFERENCES stream (id), sink INTEGER NOT NULL REFERENCES sink (id), since INTEGER NOT NULL,
  active INTEGER NOT NULL DEFAULT 1,          -- the configuration has this sink take this stream
  owed INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0, filtered INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
  requeued INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (stream, sink)
) STRICT, WITHOUT ROWID;

-- state: 0 owed (no whole body here) · 1 complete (body whole, ids being entered) · 2 stored · 3 done (nobody is owed it) · 4 lost
CREATE TABLE content (
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL REFERENCES stream (id),
  content_id TEXT NOT NULL, uri TEXT NOT NULL,
  created INTEGER NOT NULL, expires INTEGER NOT NULL, admitted INTEGER NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 0,      -- how often a body was dropped
  records INTEGER,                            -- in the body, known once it was stored
  fetched INTEGER, entered INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
  new_records INTEGER, new_read INTEGER, new_unselected INTEGER, new_unreadable INTEGER,
  of_type TEXT, of_content TEXT,              -- of requeued records: content type and content id that they came with
  attempts INTEGER NOT NULL DEFAULT 0, retry_at INTEGER NOT NULL DEFAULT 0, error TEXT
) STRICT;
CREATE UNIQUE INDEX content_name ON content (stream, content_id);
CREATE INDEX content_owed ON content (expires) WHERE state = 0;
CREATE INDEX content_owed_live ON content (stream, created) WHERE state = 0;
CREATE INDEX content_owed_past ON content (stream, expires) WHERE state = 0;
CREATE INDEX content_retry ON content (retry_at) WHERE state = 0;
CREATE INDEX content_complete ON content (id) WHERE state = 1;
CREATE INDEX content_old ON content (admitted) WHERE state >= 3;

CREATE TABLE chunk (
  content INTEGER NOT NULL REFERENCES content (id), seq INTEGER NOT NULL,
  first INTEGER NOT NULL, records INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX chunk_place ON chunk (content, seq);

-- Which content owns an id. `second`: the record's CreationTime, so that neighbours lie together.
CREATE TABLE seen (
  tenant INTEGER NOT NULL, second INTEGER NOT NULL, id BLOB NOT NULL,
  content INTEGER NOT NULL, generation INTEGER NOT NULL,
  PRIMARY KEY (tenant, second, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_content ON seen (content, generation);

CREATE TABLE copy (
  content INTEGER NOT NULL, position INTEGER NOT NULL, owner INTEGER NOT NULL, PRIMARY KEY (content, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX copy_owner ON copy (owner);
-- positions of a body fetched again whose ids had not been there before
CREATE TABLE newcomer (content INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (content, position)) STRICT, WITHOUT ROWID;

-- What a sink is owed of a content, while it is owed or was lost. `ready`: the body is stored.
CREATE TABLE delivery (
  sink INTEGER NOT NULL REFERENCES sink (id), content INTEGER NOT NULL REFERENCES content (id),
  stream INTEGER NOT NULL, created INTEGER NOT NULL,
  progress INTEGER NOT NULL DEFAULT 0, ready INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (sink, content)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_content ON delivery (content);
CREATE INDEX delivery_ready ON delivery (sink, stream, created, content) WHERE ready = 1 AND lost = 0;
CREATE INDEX delivery_missing ON delivery (sink, created, content) WHERE ready = 0 AND lost = 0;

-- Records that a sink refused, as stored (a chunk of one frame), so that they can be encoded anew. A number is never used twice: a person
-- has written it down. `bytes`: what the row holds; `sink.quarantine_bytes` is their sum.
CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sink INTEGER NOT NULL REFERENCES sink (id), stream INTEGER NOT NULL REFERENCES stream (id),
  content_type TEXT NOT NULL, content_id TEXT NOT NULL, position INTEGER NOT NULL, created INTEGER NOT NULL,
  event BLOB NOT NULL, operation TEXT NOT NULL, refused_at INTEGER NOT NULL, words TEXT NOT NULL,
  record BLOB NOT NULL, bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX quarantine_sink ON quarantine (sink, id);

-- Something known to be lost. sink null: all; content null: the window.
CREATE TABLE gap (
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL REFERENCES stream (id), sink INTEGER, content INTEGER,
  from_time INTEGER NOT NULL, to_time INTEGER NOT NULL, records INTEGER, reason TEXT NOT NULL, suspected INTEGER NOT NULL,
  found_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, closed_at INTEGER,
  announced_at INTEGER, announced_closed INTEGER NOT NULL DEFAULT 0,
  request INTEGER REFERENCES request (id)     -- who decided it, when a person did
) STRICT;
CREATE INDEX gap_last ON gap (stream, reason, sink, id);
CREATE INDEX gap_open ON gap (id) WHERE announced_closed = 0;

-- Contents lost before they were read: their number of records is not known.
CREATE TABLE lost_content (
  stream INTEGER NOT NULL, sink INTEGER NOT NULL, reason TEXT NOT NULL, contents INTEGER NOT NULL, PRIMARY KEY (stream, sink, reason)
) STRICT, WITHOUT ROWID;

-- Streams and sinks that fail now, for commands that run beside the agent: `tenant/content type`, or the sink's name.
CREATE TABLE trouble (kind TEXT NOT NULL, name TEXT NOT NULL, words TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;

-- What the sinks were told of one that is blocked: since when, when that was said, when that it is over, and how often in all.
CREATE TABLE blocked (
  sink INTEGER PRIMARY KEY REFERENCES sink (id), since INTEGER NOT NULL, said_at INTEGER NOT NULL, over_at INTEGER,
  times INTEGER NOT NULL DEFAULT 1
) STRICT;

-- What commands asked for; kept for the auditor. `what`: JSON. `done`, `contents`: records, and contents of unknown size, worked off.
CREATE TABLE request (
  id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL, what TEXT NOT NULL, asked_at INTEGER NOT NULL,
  taken_at INTEGER, ended_at INTEGER, outcome TEXT, refused INTEGER NOT NULL DEFAULT 0,
  done INTEGER NOT NULL DEFAULT 0, contents INTEGER NOT NULL DEFAULT 0,
  sink INTEGER REFERENCES sink (id)           -- the one that it retires
) STRICT;
CREATE INDEX request_open ON request (id) WHERE ended_at IS NULL;

CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- kept by the transactions that change them: counting 100 million rows at every scrape would hold up everybody
INSERT INTO meta VALUES ('stored_bytes', 0), ('seen', 0);

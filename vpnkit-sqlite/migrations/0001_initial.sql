-- Times are milliseconds since 1970 in UTC, sizes are bytes.

CREATE TABLE keys (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: counters on servers carry it
  uid         BLOB    NOT NULL UNIQUE,
  version     INTEGER NOT NULL,
  name        TEXT    COLLATE NOCASE UNIQUE,
  label       TEXT,
  note        TEXT,
  owner       INTEGER,
  status      TEXT    NOT NULL,
  expires_at  INTEGER,
  inbounds    TEXT,                               -- JSON array of tags; NULL is all shared ones
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX keys_by_status ON keys (status, id);
CREATE INDEX keys_by_owner  ON keys (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX keys_due       ON keys (expires_at) WHERE status IN ('active', 'limited') AND expires_at IS NOT NULL;

-- Apart from keys, so that a traffic tick rewrites narrow rows. The limit is here because the tick compares it.
CREATE TABLE meters (
  key_id      INTEGER PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
  data_limit  INTEGER,
  used        INTEGER NOT NULL DEFAULT 0,
  up          INTEGER NOT NULL DEFAULT 0,
  down        INTEGER NOT NULL DEFAULT 0,
  seen_at     INTEGER
) STRICT;

CREATE TABLE credentials (
  key_id      INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
  protocol    TEXT    NOT NULL,
  device      TEXT    NOT NULL,
  secret      TEXT    NOT NULL,                   -- sealed when there is a vault
  mark        BLOB    NOT NULL UNIQUE,            -- two users with one secret lock each other out on the server
  PRIMARY KEY (key_id, protocol, device)
) STRICT, WITHOUT ROWID;

-- At most one row: how the passphrase becomes a key, and a proof of the right one.
CREATE TABLE vault (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  salt    BLOB    NOT NULL,
  memory  INTEGER NOT NULL,                       -- Argon2id, KiB
  passes  INTEGER NOT NULL,
  lanes   INTEGER NOT NULL,
  proof   TEXT    NOT NULL
) STRICT;

CREATE TABLE inbounds (
  node         TEXT    NOT NULL,
  tag          TEXT    NOT NULL,
  port         INTEGER NOT NULL,
  dedicated_to INTEGER REFERENCES keys (id) ON DELETE CASCADE,
  spec         TEXT    NOT NULL,                  -- JSON; sealed when there is a vault
  PRIMARY KEY (node, tag),
  UNIQUE (node, port)
) STRICT, WITHOUT ROWID;
CREATE INDEX inbounds_by_key ON inbounds (dedicated_to) WHERE dedicated_to IS NOT NULL;

CREATE TABLE nodes (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL UNIQUE
) STRICT;

-- One row a server: the newest reading that was stored.
CREATE TABLE sources (
  id        INTEGER PRIMARY KEY,
  server    TEXT    NOT NULL UNIQUE,
  epoch     TEXT    NOT NULL,
  evidence  TEXT    NOT NULL,
  sequence  INTEGER NOT NULL
) STRICT;

-- Cumulative counters as the server showed them in that reading.
CREATE TABLE counters (
  source  INTEGER NOT NULL,
  key_id  INTEGER NOT NULL,
  up      INTEGER NOT NULL,
  down    INTEGER NOT NULL,
  PRIMARY KEY (source, key_id)
) STRICT, WITHOUT ROWID;

-- Hours since 1970 first: a tick appends, a key's history is one look-up an hour. Rows outlive their key, so that
-- what passed through a node does not change when a key is deleted.
CREATE TABLE usage_hours (
  hour    INTEGER NOT NULL,
  node    INTEGER NOT NULL,
  key_id  INTEGER NOT NULL,
  up      INTEGER NOT NULL,
  down    INTEGER NOT NULL,
  PRIMARY KEY (hour, node, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  cursor   INTEGER PRIMARY KEY AUTOINCREMENT,
  at       INTEGER NOT NULL,
  kind     TEXT    NOT NULL,
  key_id   INTEGER,
  subject  TEXT,
  uid      BLOB,
  detail   TEXT    NOT NULL
) STRICT;

CREATE TABLE requests (
  id      TEXT    PRIMARY KEY,
  at      INTEGER NOT NULL,
  keys    TEXT    NOT NULL,
  cursor  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
  name   TEXT PRIMARY KEY,
  value  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('events_pruned', 0);

-- Who owns keys. What an admin has and uses counts all that is below it, too.
CREATE TABLE admins (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  version     INTEGER NOT NULL,
  name        TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  parent      INTEGER REFERENCES admins (id),
  spec        TEXT    NOT NULL,                   -- JSON: role, limits, what it may use
  keys        INTEGER NOT NULL DEFAULT 0,
  sold        INTEGER NOT NULL DEFAULT 0,
  used        INTEGER NOT NULL DEFAULT 0,
  total_used  INTEGER NOT NULL DEFAULT 0,
  admins      INTEGER NOT NULL DEFAULT 0,
  -- Grows when its keys have to be stopped, or may go on; negative when all have followed.
  mark        INTEGER NOT NULL DEFAULT 0,
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX admins_by_parent ON admins (parent) WHERE parent IS NOT NULL;
CREATE INDEX admins_to_follow ON admins (id) WHERE mark > 0;

-- Until now an owner was any number.
INSERT INTO admins (id, version, name, spec, keys, sold, used, total_used, created_at, updated_at)
  SELECT k.owner, 1, 'admin-' || k.owner, '{"role":"reseller"}', count(*),
         CAST(total(m.data_limit) + total(CASE WHEN json_valid(k.life) THEN json_extract(k.life, '$.next_plan.data_limit') END) AS INTEGER),
         CAST(total(m.used) AS INTEGER), CAST(total(m.used) AS INTEGER), max(k.updated_at), max(k.updated_at)
  FROM keys k JOIN meters m ON m.key_id = k.id WHERE k.owner BETWEEN 1 AND 9007199254740991 GROUP BY k.owner;
UPDATE keys SET owner = NULL WHERE owner NOT BETWEEN 1 AND 9007199254740991;

-- Whether its owner's keys have used what they may.
ALTER TABLE keys ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0;
CREATE INDEX keys_to_follow ON keys (owner, suspended) WHERE owner IS NOT NULL;

-- What a reading must know.
ALTER TABLE meters ADD COLUMN owner INTEGER;
UPDATE meters SET owner = (SELECT owner FROM keys WHERE id = key_id) WHERE key_id IN (SELECT id FROM keys WHERE owner IS NOT NULL);

-- What passed by the keys that an admin owned then.
CREATE TABLE owner_hours (
  owner  INTEGER NOT NULL,
  hour   INTEGER NOT NULL,                        -- hours since 1970
  node   INTEGER NOT NULL,
  up     INTEGER NOT NULL,
  down   INTEGER NOT NULL,
  PRIMARY KEY (owner, hour, node)
) STRICT, WITHOUT ROWID;

-- Who owned the key of an event or a grant then, and the admin in whose name it was called.
ALTER TABLE events ADD COLUMN owner INTEGER;
ALTER TABLE events ADD COLUMN by_admin INTEGER;
ALTER TABLE grants ADD COLUMN owner INTEGER;
-- The admin in whose name it was given, and the reseller whose idempotency keys it is one of.
ALTER TABLE grants ADD COLUMN by_admin INTEGER;
ALTER TABLE grants ADD COLUMN scope INTEGER;
CREATE INDEX grants_by_owner ON grants (owner, id) WHERE owner IS NOT NULL;
UPDATE grants SET owner = (SELECT owner FROM keys WHERE id = key_id);

-- What was done by calls, for who looks into it.
CREATE INDEX events_by_actor    ON events (actor, cursor)    WHERE actor IS NOT NULL;
CREATE INDEX events_by_by_admin ON events (by_admin, cursor) WHERE by_admin IS NOT NULL;

-- Up to which end, and which key, was reminded, by the number of days before it.
CREATE TABLE reminders (
  days    INTEGER PRIMARY KEY,
  until   INTEGER NOT NULL,
  key_id  INTEGER NOT NULL
) STRICT;

-- Events that receivers of webhooks have refused for good.
CREATE TABLE dead_letters (
  webhook   TEXT    NOT NULL,
  cursor    INTEGER NOT NULL,
  at        INTEGER NOT NULL,
  attempts  INTEGER NOT NULL,
  error     TEXT    NOT NULL,
  event     TEXT    NOT NULL,                     -- JSON: it outlives the event
  PRIMARY KEY (webhook, cursor)
) STRICT, WITHOUT ROWID;

-- Who handles events, and up to which one.
CREATE TABLE consumers (
  name    TEXT    PRIMARY KEY,
  cursor  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

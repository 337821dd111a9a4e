ALTER TABLE keys ADD COLUMN device_limit INTEGER;
-- Grows when links are revoked: tokens carry it.
ALTER TABLE keys ADD COLUMN link_revision INTEGER NOT NULL DEFAULT 0;

-- Small things that are read and replaced as a whole: hosts of an inbound, settings, templates, signing secrets.
CREATE TABLE documents (
  name     TEXT    PRIMARY KEY,
  version  INTEGER NOT NULL,
  body     TEXT    NOT NULL                       -- JSON; sealed when there is a vault
) STRICT, WITHOUT ROWID;

-- Devices that have fetched a key's subscription, as they name themselves.
CREATE TABLE devices (
  key_id      INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
  id          TEXT    NOT NULL,
  os          TEXT,
  os_version  TEXT,
  model       TEXT,
  user_agent  TEXT,
  first_seen  INTEGER NOT NULL,
  last_seen   INTEGER NOT NULL,
  PRIMARY KEY (key_id, id)
) STRICT, WITHOUT ROWID;

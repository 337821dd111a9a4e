-- What most keys do not have: a hold, a pause, resets, a next plan, a time to be deleted.
ALTER TABLE keys ADD COLUMN life TEXT;              -- JSON
ALTER TABLE keys ADD COLUMN labels TEXT;            -- JSON object
-- When something is to be done about a key by itself.
ALTER TABLE keys ADD COLUMN due_at INTEGER;
UPDATE keys SET due_at = expires_at WHERE status IN ('active', 'limited') AND expires_at IS NOT NULL;
DROP INDEX keys_due;
CREATE INDEX keys_due ON keys (due_at) WHERE due_at IS NOT NULL;

-- What a tick must know: whether the first bytes of a key begin its time.
ALTER TABLE meters ADD COLUMN on_hold INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meters ADD COLUMN first_seen_at INTEGER;
-- The earliest that is known.
UPDATE meters SET first_seen_at = seen_at WHERE seen_at IS NOT NULL;

-- What keys are found by, beside the column `labels`.
CREATE TABLE key_labels (
  name    TEXT    NOT NULL,
  value   TEXT    NOT NULL,
  key_id  INTEGER NOT NULL,
  PRIMARY KEY (name, value, key_id)
) STRICT, WITHOUT ROWID;

-- The ledger: what keys were given. Without a reference: it outlives its keys.
CREATE TABLE grants (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  key_id          INTEGER NOT NULL,
  uid             BLOB    NOT NULL,
  at              INTEGER NOT NULL,
  kind            TEXT    NOT NULL,
  payment         TEXT,                             -- the idempotency key of the call
  expires_in      INTEGER,                          -- milliseconds
  data_limit      INTEGER,
  unlimited       INTEGER NOT NULL,
  policy          TEXT    NOT NULL,
  reason          TEXT,
  counted_from    INTEGER NOT NULL,
  before          TEXT    NOT NULL,                 -- JSON
  after           TEXT    NOT NULL,
  undone_at       INTEGER,
  undone_because  TEXT
) STRICT;
CREATE INDEX grants_by_key     ON grants (key_id, id);
CREATE INDEX grants_by_at      ON grants (at);
CREATE INDEX grants_by_payment ON grants (payment) WHERE payment IS NOT NULL;

-- What grants something is remembered for good, and a payment grants once, by whichever call.
ALTER TABLE requests ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
UPDATE OR IGNORE requests SET id = 'grant:' || substr(id, 13), kept = 1 WHERE id LIKE 'keys.create:%';
UPDATE OR IGNORE requests SET id = 'grant:' || substr(id, 18), kept = 1 WHERE id LIKE 'keys.create\_many:%' ESCAPE '\';
DROP INDEX requests_by_at;
CREATE INDEX requests_by_at ON requests (at) WHERE kept = 0;

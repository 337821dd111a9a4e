-- A credential may be for one inbound, with an address and a certificate of it.
CREATE TABLE credentials_5 (
  key_id      INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
  protocol    TEXT    NOT NULL,
  device      TEXT    NOT NULL,
  inbound     TEXT    NOT NULL,                   -- node/tag; empty is every inbound of the protocol
  secret      TEXT    NOT NULL,                   -- sealed when there is a vault
  mark        BLOB    NOT NULL UNIQUE,            -- two users with one secret lock each other out on the server
  slot        INTEGER,                            -- its number among the addresses of the inbound
  serial      INTEGER,                            -- of its certificate
  expires_at  INTEGER,                            -- the end of its certificate
  PRIMARY KEY (key_id, protocol, device, inbound)
) STRICT, WITHOUT ROWID;
INSERT INTO credentials_5 (key_id, protocol, device, inbound, secret, mark)
  SELECT key_id, protocol, device, '', secret, mark FROM credentials;
DROP TABLE credentials;
ALTER TABLE credentials_5 RENAME TO credentials;
CREATE INDEX credentials_by_inbound ON credentials (inbound) WHERE inbound <> '';
CREATE UNIQUE INDEX credentials_by_slot ON credentials (inbound, slot) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX credentials_by_serial ON credentials (inbound, serial) WHERE serial IS NOT NULL;

-- Certificates that are refused although they have not expired. Without a reference: they outlive their key.
CREATE TABLE revocations (
  inbound     TEXT    NOT NULL,
  serial      INTEGER NOT NULL,
  key_id      INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  revoked_at  INTEGER NOT NULL,
  PRIMARY KEY (inbound, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_end ON revocations (expires_at);

-- What an inbound has given: its newest serial number, which is never used again and outlives the inbound, and the slot
-- from which on the next free one is looked for.
CREATE TABLE inbound_numbers (
  inbound  TEXT    PRIMARY KEY,
  serial   INTEGER NOT NULL DEFAULT 0,
  slot     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

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

-- Certificates that are refused although their time is not over. Without a reference: they outlive their key.
CREATE TABLE revocations (
  inbound     TEXT    NOT NULL,
  serial      INTEGER NOT NULL,
  key_id      INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  revoked_at  INTEGER NOT NULL,
  PRIMARY KEY (inbound, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_end ON revocations (expires_at);

-- The newest serial number of an inbound's certificates. It outlives the inbound: serial numbers are never used again.
CREATE TABLE serials (
  inbound  TEXT    PRIMARY KEY,
  newest   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

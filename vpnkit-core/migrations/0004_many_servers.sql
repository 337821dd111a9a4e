-- Which server runs an inbound. Until now a node had one, an Xray. A port may be shared by addresses, and by TCP and UDP.
CREATE TABLE inbounds_4 (
  node         TEXT    NOT NULL,
  tag          TEXT    NOT NULL,
  server       TEXT,
  port         INTEGER NOT NULL,
  dedicated_to INTEGER REFERENCES keys (id) ON DELETE CASCADE,
  spec         TEXT    NOT NULL,                  -- JSON; sealed when there is a vault
  PRIMARY KEY (node, tag)
) STRICT, WITHOUT ROWID;
INSERT INTO inbounds_4 (node, tag, server, port, dedicated_to, spec)
  SELECT node, tag, node || '/xray', port, dedicated_to, spec FROM inbounds;
DROP TABLE inbounds;
ALTER TABLE inbounds_4 RENAME TO inbounds;
CREATE INDEX inbounds_by_key ON inbounds (dedicated_to) WHERE dedicated_to IS NOT NULL;
CREATE INDEX inbounds_by_port ON inbounds (node, port);

-- A key may have several counters on a server: one a session or a peer, each of which ends.
CREATE TABLE counters_4 (
  source  INTEGER NOT NULL,
  key_id  INTEGER NOT NULL,
  series  TEXT    NOT NULL,                       -- empty: the one of the key's accounts
  up      INTEGER NOT NULL,
  down    INTEGER NOT NULL,
  ended   INTEGER NOT NULL,                       -- kept while the server still tells of it
  PRIMARY KEY (source, key_id, series)
) STRICT, WITHOUT ROWID;
INSERT INTO counters_4 (source, key_id, series, up, down, ended)
  SELECT source, key_id, '', up, down, 0 FROM counters;
DROP TABLE counters;
ALTER TABLE counters_4 RENAME TO counters;

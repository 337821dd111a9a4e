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

-- Small things that are read and replaced as a whole, by kind: settings, hosts, templates, signing secrets, servers.
CREATE TABLE records (
  kind     TEXT    NOT NULL,
  id       TEXT    NOT NULL,                      -- empty where there is only one of its kind
  version  INTEGER NOT NULL,
  lookup   TEXT,                                  -- what it is found by beside its id
  body     TEXT    NOT NULL,                      -- JSON; sealed when there is a vault
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_by_lookup ON records (kind, lookup) WHERE lookup IS NOT NULL;
INSERT INTO records (kind, id, version, body)
  SELECT CASE instr(name, '/') WHEN 0 THEN name ELSE substr(name, 1, instr(name, '/') - 1) END,
         CASE instr(name, '/') WHEN 0 THEN '' ELSE substr(name, instr(name, '/') + 1) END,
         version, body FROM documents;
DROP TABLE documents;

-- Grows with every change of an inbound or a record.
INSERT INTO meta VALUES ('revision', 1);

-- What a request made: pairs of kind and id. Until now only keys.
ALTER TABLE requests RENAME COLUMN keys TO made;
UPDATE requests SET made = (SELECT json_group_array(json_array('key', CAST(value AS TEXT))) FROM json_each(made));

-- Usage of keys, summed up: hours become days, days become months. Key first: a key's history is one range.
CREATE TABLE usage_days (
  key_id  INTEGER NOT NULL,
  day     INTEGER NOT NULL,                       -- days since 1970
  node    INTEGER NOT NULL,
  up      INTEGER NOT NULL,
  down    INTEGER NOT NULL,
  PRIMARY KEY (key_id, day, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_days_by_day ON usage_days (day);
CREATE TABLE usage_months (
  key_id  INTEGER NOT NULL,
  month   INTEGER NOT NULL,                       -- days since 1970 of its first day
  node    INTEGER NOT NULL,
  up      INTEGER NOT NULL,
  down    INTEGER NOT NULL,
  PRIMARY KEY (key_id, month, node)
) STRICT, WITHOUT ROWID;

-- What passed through a node, all keys together: asking for it does not read a row for each key.
CREATE TABLE node_hours (
  hour  INTEGER NOT NULL,                         -- hours since 1970
  node  INTEGER NOT NULL,
  up    INTEGER NOT NULL,
  down  INTEGER NOT NULL,
  PRIMARY KEY (hour, node)
) STRICT, WITHOUT ROWID;
INSERT INTO node_hours SELECT hour, node, sum(up), sum(down) FROM usage_hours GROUP BY hour, node;

-- Forgetting reads what is forgotten, and no more.
CREATE INDEX requests_by_at ON requests (at);

-- An index for each order of pages.
CREATE INDEX keys_by_name   ON keys (coalesce(lower(name), '~'), id);
CREATE INDEX keys_by_expiry ON keys (coalesce(expires_at, 9223372036854775807), id);
CREATE INDEX meters_by_used ON meters (used, key_id);

-- What vpnkit leaves on servers carries it.
INSERT INTO meta VALUES ('store_id', abs(random() % 4294967296));

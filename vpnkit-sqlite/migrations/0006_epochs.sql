-- One row a server and lifetime of its counters: the newest reading that was stored of it. A lifetime may come back.
CREATE TABLE sources_6 (
  id        INTEGER PRIMARY KEY,
  server    TEXT    NOT NULL,
  epoch     TEXT    NOT NULL,
  evidence  TEXT    NOT NULL,
  sequence  INTEGER NOT NULL,                     -- grows over all lifetimes of the server
  UNIQUE (server, epoch)
) STRICT;
INSERT INTO sources_6 SELECT id, server, epoch, evidence, sequence FROM sources;
DROP TABLE sources;
ALTER TABLE sources_6 RENAME TO sources;

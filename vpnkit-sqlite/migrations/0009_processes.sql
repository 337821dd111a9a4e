-- What no two processes may do at once, and who does it. Times are milliseconds since the machine was started.
CREATE TABLE leases (
  name      TEXT    PRIMARY KEY,
  holder    TEXT    NOT NULL,                     -- JSON
  number    INTEGER NOT NULL,                     -- grows with each holder
  ends      INTEGER NOT NULL,                     -- 0: released
  progress  INTEGER NOT NULL,                     -- a cursor: what follows from all events up to it was done
  note      TEXT
) STRICT, WITHOUT ROWID;
-- Which opening of the store an event is from: who follows changes leaves out its own.
ALTER TABLE events ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;
-- JSON: the devices that a deleted key had.
ALTER TABLE events ADD COLUMN devices TEXT;
-- Questions to the process that drives a server, and its answers: for a minute.
CREATE TABLE questions (
  server  TEXT    NOT NULL,
  asker   INTEGER NOT NULL,
  number  INTEGER NOT NULL,
  at      INTEGER NOT NULL,                       -- milliseconds since the machine was started
  text    TEXT    NOT NULL,
  answer  TEXT,
  PRIMARY KEY (server, asker, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX questions_open ON questions (at) WHERE answer IS NULL;
CREATE INDEX questions_at ON questions (at);

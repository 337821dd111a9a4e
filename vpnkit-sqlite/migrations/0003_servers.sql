-- What was asked for under an idempotency key: the same key with another request is an error. 0: not known.
ALTER TABLE requests ADD COLUMN fingerprint INTEGER NOT NULL DEFAULT 0;

-- Its subject is a key.
UPDATE events SET kind = 'key.rejected' WHERE kind = 'server.refused';

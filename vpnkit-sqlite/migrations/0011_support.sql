-- What an event follows from: a call, who made it, why, with which payment. Nothing of it when vpnkit did it by itself.
ALTER TABLE events ADD COLUMN operation TEXT;
ALTER TABLE events ADD COLUMN actor TEXT;
ALTER TABLE events ADD COLUMN reason TEXT;
ALTER TABLE events ADD COLUMN payment TEXT;

-- The timeline of a key. Events of keys stay for it when the stream has forgotten them.
CREATE INDEX events_by_key ON events (key_id, cursor) WHERE key_id IS NOT NULL;
INSERT INTO meta (name, value) VALUES ('timelines_pruned', 0);

ALTER TABLE grants ADD COLUMN actor TEXT;
ALTER TABLE grants ADD COLUMN template TEXT;

-- The key that was merged into another one: what was left of it stands in this entry.
ALTER TABLE grants ADD COLUMN merged_from INTEGER;
CREATE INDEX grants_by_merged ON grants (merged_from) WHERE merged_from IS NOT NULL;

-- At how many addresses at once a key may be used. Whether there is any such key costs one look.
ALTER TABLE keys ADD COLUMN address_limit INTEGER;
CREATE INDEX keys_by_address_limit ON keys (id) WHERE address_limit IS NOT NULL;

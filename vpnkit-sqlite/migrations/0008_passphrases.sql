-- The store's key, sealed under the passphrase: then a passphrase changes without sealing everything anew. NULL: the key is
-- made of the passphrase itself, as in stores that were encrypted before.
ALTER TABLE vault ADD COLUMN wrapped TEXT;

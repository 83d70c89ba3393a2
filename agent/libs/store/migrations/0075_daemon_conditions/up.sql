-- What keeps a daemon from part of its work, as it says itself: names separated by commas.
ALTER TABLE node_daemons ADD COLUMN IF NOT EXISTS conditions VARCHAR(1024) CHARACTER SET ascii NOT NULL DEFAULT '';

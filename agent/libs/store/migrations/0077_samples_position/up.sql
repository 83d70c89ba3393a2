-- How far a walk through a table, done in slices, has come.
ALTER TABLE samples ADD COLUMN IF NOT EXISTS position UUID NULL;

ALTER TABLE node_daemons DROP COLUMN IF EXISTS conditions;

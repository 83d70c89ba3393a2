ALTER TABLE node_capacity DROP COLUMN IF EXISTS network_unfit;

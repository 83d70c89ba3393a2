DROP TABLE IF EXISTS instance_tombstones;

DROP TABLE IF EXISTS node_daemons;

DROP TABLE IF EXISTS instance_affinity;

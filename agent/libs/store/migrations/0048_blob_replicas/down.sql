DROP TABLE IF EXISTS blob_replicas;

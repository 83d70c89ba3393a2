DROP TABLE IF EXISTS node_storage_health;

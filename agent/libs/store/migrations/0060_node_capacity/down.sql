DROP TABLE IF EXISTS node_capacity;

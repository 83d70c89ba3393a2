DROP TABLE IF EXISTS cluster_capacity;

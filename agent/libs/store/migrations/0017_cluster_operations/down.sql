DROP TABLE IF EXISTS cluster_operations;

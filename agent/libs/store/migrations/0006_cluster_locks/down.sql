DROP TABLE IF EXISTS cluster_locks;

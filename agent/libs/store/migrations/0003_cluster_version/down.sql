DROP TABLE IF EXISTS cluster_version;

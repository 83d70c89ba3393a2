DROP TABLE IF EXISTS cluster_config;

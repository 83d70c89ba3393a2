DROP TABLE IF EXISTS cluster_operation_targets;

DROP TABLE IF EXISTS node_process_metrics;

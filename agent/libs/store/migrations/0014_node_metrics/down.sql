DROP TABLE IF EXISTS node_metrics;

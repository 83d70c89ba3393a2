DROP TABLE IF EXISTS bootstrap_operations;

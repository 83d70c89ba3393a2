DROP TABLE IF EXISTS recurring_operations;

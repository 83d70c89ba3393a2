DROP TABLE IF EXISTS schema_history;

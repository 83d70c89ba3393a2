DROP TABLE IF EXISTS schema_meta;

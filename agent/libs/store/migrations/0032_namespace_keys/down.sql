DROP TABLE IF EXISTS namespace_keys;

DROP TABLE IF EXISTS namespace_key_scopes;

DROP TABLE IF EXISTS namespace_trusts;

DROP TABLE IF EXISTS namespace_claims;

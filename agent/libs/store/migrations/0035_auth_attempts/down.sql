DROP TABLE IF EXISTS auth_attempts;

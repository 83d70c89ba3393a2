DROP TABLE IF EXISTS artifact_fetches;

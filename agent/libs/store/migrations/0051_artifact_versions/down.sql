DROP TABLE IF EXISTS artifact_versions;

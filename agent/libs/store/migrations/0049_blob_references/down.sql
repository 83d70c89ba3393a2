DROP TABLE IF EXISTS blob_references;

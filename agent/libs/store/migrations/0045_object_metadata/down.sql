DROP TABLE IF EXISTS object_metadata;

DROP TABLE IF EXISTS blob_hashes;

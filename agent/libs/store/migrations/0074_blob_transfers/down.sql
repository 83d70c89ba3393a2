DROP TABLE IF EXISTS blob_transfers;

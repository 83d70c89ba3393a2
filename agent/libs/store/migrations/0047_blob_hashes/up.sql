CREATE TABLE IF NOT EXISTS blob_hashes (
    blob_uuid UUID NOT NULL,
    algorithm VARCHAR(16) CHARACTER SET ascii NOT NULL,
    value VARCHAR(128) CHARACTER SET ascii NOT NULL,
    PRIMARY KEY (blob_uuid, algorithm),
    KEY by_value (algorithm, value),
    FOREIGN KEY (blob_uuid) REFERENCES blobs (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

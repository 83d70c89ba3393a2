CREATE TABLE IF NOT EXISTS url_validators (
    url_hash BINARY(32) NOT NULL,
    url VARCHAR(4096) NOT NULL,
    etag VARCHAR(512) NULL,
    last_modified VARCHAR(128) NULL,
    content_length BIGINT UNSIGNED NULL,
    blob_uuid UUID NOT NULL,
    checked_at DATETIME(6) NOT NULL,
    PRIMARY KEY (url_hash),
    KEY by_blob (blob_uuid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

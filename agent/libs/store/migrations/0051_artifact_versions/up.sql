CREATE TABLE IF NOT EXISTS artifact_versions (
    artifact_uuid UUID NOT NULL,
    idx INT UNSIGNED NOT NULL,
    blob_uuid UUID NOT NULL,
    created_at DATETIME(6) NOT NULL,
    snapshot_set UUID NULL,
    deleted_at DATETIME(6) NULL,
    PRIMARY KEY (artifact_uuid, idx),
    KEY by_blob (blob_uuid),
    FOREIGN KEY (artifact_uuid) REFERENCES artifacts (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

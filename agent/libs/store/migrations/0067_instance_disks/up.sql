-- The `asked_` columns are the request, verbatim; the others are what it was resolved to. Base addresses are long.
CREATE TABLE IF NOT EXISTS instance_disks (
    instance_uuid UUID NOT NULL,
    position SMALLINT UNSIGNED NOT NULL,
    asked_size_gb BIGINT UNSIGNED NULL,
    asked_base TEXT COLLATE utf8mb4_bin NULL,
    asked_bus VARCHAR(32) COLLATE utf8mb4_bin NULL,
    asked_type VARCHAR(32) COLLATE utf8mb4_bin NULL,
    size_gb BIGINT UNSIGNED NULL,
    base TEXT COLLATE utf8mb4_bin NULL,
    bus VARCHAR(32) CHARACTER SET ascii NOT NULL,
    present_as VARCHAR(32) CHARACTER SET ascii NOT NULL,
    device VARCHAR(32) CHARACTER SET ascii NOT NULL,
    blob_uuid UUID NULL,
    artifact_uuid UUID NULL,
    format VARCHAR(32) CHARACTER SET ascii NOT NULL,
    resolved TEXT NULL,
    snapshot_ignores BOOLEAN NOT NULL DEFAULT FALSE,
    is_configdrive BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (instance_uuid, position),
    KEY by_artifact (artifact_uuid),
    CONSTRAINT disks_of_instance FOREIGN KEY (instance_uuid) REFERENCES instances (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Every recorded reason to keep a blob. Counts are computed from these rows and never stored.
CREATE TABLE IF NOT EXISTS blob_references (
    blob_uuid UUID NOT NULL,
    kind VARCHAR(32) CHARACTER SET ascii NOT NULL,
    holder_uuid UUID NOT NULL,
    holder_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
    created_at DATETIME(6) NOT NULL,
    lease_until DATETIME(6) NULL,
    PRIMARY KEY (blob_uuid, kind, holder_uuid, holder_key),
    KEY by_holder (holder_uuid, kind),
    KEY by_lease (lease_until)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

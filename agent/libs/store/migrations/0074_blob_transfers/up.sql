-- Copies on their way between nodes. A row is a live transfer: it goes with the commit of the replica, with the failure,
-- or after its lease.
CREATE TABLE IF NOT EXISTS blob_transfers (
    uuid UUID NOT NULL,
    blob_uuid UUID NOT NULL,
    dest_node UUID NOT NULL,
    source_node UUID NULL,
    purpose VARCHAR(32) CHARACTER SET ascii NOT NULL,
    bytes_done BIGINT UNSIGNED NOT NULL DEFAULT 0,
    bytes_total BIGINT UNSIGNED NOT NULL,
    lease_until DATETIME(6) NOT NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (uuid),
    UNIQUE KEY one_per_pair (blob_uuid, dest_node),
    KEY by_source (source_node),
    KEY by_lease (lease_until)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

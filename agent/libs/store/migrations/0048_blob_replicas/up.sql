CREATE TABLE IF NOT EXISTS blob_replicas (
    blob_uuid UUID NOT NULL,
    node_uuid UUID NOT NULL,
    state VARCHAR(32) CHARACTER SET ascii NOT NULL,
    last_seen DATETIME(6) NOT NULL,
    verified_at DATETIME(6) NULL,
    verify_error VARCHAR(255) NULL,
    PRIMARY KEY (blob_uuid, node_uuid),
    KEY by_node (node_uuid, state),
    KEY by_verification (node_uuid, verified_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

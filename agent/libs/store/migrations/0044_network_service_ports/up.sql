CREATE TABLE IF NOT EXISTS network_service_ports (
    allocation_uuid UUID NOT NULL,
    network_uuid UUID NOT NULL,
    protocol VARCHAR(8) CHARACTER SET ascii NOT NULL,
    port SMALLINT UNSIGNED NOT NULL,
    service_type VARCHAR(64) CHARACTER SET ascii NOT NULL,
    target_node UUID NOT NULL,
    target_port SMALLINT UNSIGNED NOT NULL,
    token_hash BINARY(32) NOT NULL,
    state VARCHAR(32) CHARACTER SET ascii NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    created_by VARCHAR(255) NOT NULL,
    PRIMARY KEY (allocation_uuid),
    KEY by_network (network_uuid, state),
    KEY by_expiry (state, expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

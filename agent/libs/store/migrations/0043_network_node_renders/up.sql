CREATE TABLE IF NOT EXISTS network_node_renders (
    network_uuid UUID NOT NULL,
    node_uuid UUID NOT NULL,
    generation BIGINT UNSIGNED NOT NULL,
    state VARCHAR(32) CHARACTER SET ascii NOT NULL,
    rendered_at DATETIME(6) NOT NULL,
    error_code VARCHAR(64) CHARACTER SET ascii NULL,
    error_message TEXT NULL,
    PRIMARY KEY (network_uuid, node_uuid),
    KEY by_node (node_uuid, state)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per network and node, so that requests coalesce by construction and never across nodes.
CREATE TABLE IF NOT EXISTS network_render_requests (
    network_uuid UUID NOT NULL,
    node_uuid UUID NOT NULL,
    min_generation BIGINT UNSIGNED NOT NULL,
    priority TINYINT UNSIGNED NOT NULL,
    requested_at DATETIME(6) NOT NULL,
    not_before DATETIME(6) NOT NULL,
    attempts INT UNSIGNED NOT NULL DEFAULT 0,
    claim_token UUID NULL,
    claimed_by UUID NULL,
    claimed_until DATETIME(6) NULL,
    request_id VARCHAR(128) CHARACTER SET ascii NULL,
    traceparent VARCHAR(64) CHARACTER SET ascii NULL,
    PRIMARY KEY (network_uuid, node_uuid),
    KEY by_lane (node_uuid, priority, not_before),
    KEY by_claim (claim_token)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

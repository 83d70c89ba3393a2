-- The one allocator table: VXLAN ids, MAC addresses, IPv4 addresses, ports of nodes, context ids, service ports.
CREATE TABLE IF NOT EXISTS resource_pool_allocations (
    allocation_uuid UUID NOT NULL,
    pool VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    value BIGINT UNSIGNED NOT NULL,
    state VARCHAR(32) CHARACTER SET ascii NOT NULL,
    owner_type VARCHAR(32) CHARACTER SET ascii NULL,
    owner_uuid UUID NULL,
    purpose VARCHAR(32) CHARACTER SET ascii NOT NULL,
    allocated_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NULL,
    comment VARCHAR(255) NOT NULL DEFAULT '',
    PRIMARY KEY (allocation_uuid),
    UNIQUE KEY one_holder (pool, value),
    KEY by_owner (owner_type, owner_uuid),
    KEY by_expiry (state, expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

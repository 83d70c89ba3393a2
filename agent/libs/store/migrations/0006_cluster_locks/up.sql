-- A later holder of a lock always has a larger fence.
CREATE TABLE IF NOT EXISTS cluster_locks (
    lock_name VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    fence BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    holder_node VARCHAR(255) NOT NULL,
    holder_daemon VARCHAR(32) CHARACTER SET ascii NOT NULL,
    holder_pid INT UNSIGNED NOT NULL,
    incarnation UUID NOT NULL,
    operation VARCHAR(255) NULL,
    acquired_at DATETIME(6) NOT NULL,
    refreshed_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    PRIMARY KEY (lock_name),
    UNIQUE KEY one_fence (fence),
    KEY by_incarnation (incarnation)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

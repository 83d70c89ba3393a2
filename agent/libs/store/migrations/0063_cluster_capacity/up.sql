-- The one row that every create without a claim passes through, last before its commit.
CREATE TABLE IF NOT EXISTS cluster_capacity (
    id TINYINT UNSIGNED NOT NULL,
    total_cpus BIGINT NOT NULL DEFAULT 0,
    total_memory_mb BIGINT NOT NULL DEFAULT 0,
    total_disk_gb BIGINT NOT NULL DEFAULT 0,
    claimed_cpus BIGINT NOT NULL DEFAULT 0,
    claimed_memory_mb BIGINT NOT NULL DEFAULT 0,
    claimed_disk_gb BIGINT NOT NULL DEFAULT 0,
    unclaimed_used_cpus BIGINT NOT NULL DEFAULT 0,
    unclaimed_used_memory_mb BIGINT NOT NULL DEFAULT 0,
    unclaimed_used_disk_gb BIGINT NOT NULL DEFAULT 0,
    updated_at DATETIME(6) NOT NULL,
    row_version BIGINT UNSIGNED NOT NULL DEFAULT 1,
    PRIMARY KEY (id),
    CONSTRAINT one_cluster CHECK (id = 1),
    CONSTRAINT cluster_use_is_not_negative CHECK (
        unclaimed_used_cpus >= 0 AND unclaimed_used_memory_mb >= 0 AND unclaimed_used_disk_gb >= 0
    )
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per hypervisor. `metrics_at` is NULL until the node has published after it last became unavailable.
CREATE TABLE IF NOT EXISTS node_capacity (
    node_uuid UUID NOT NULL,
    open BOOLEAN NOT NULL DEFAULT FALSE,
    limit_cpus BIGINT NOT NULL DEFAULT 0,
    limit_memory_mb BIGINT NOT NULL DEFAULT 0,
    limit_disk_gb BIGINT NOT NULL DEFAULT 0,
    disk_headroom_gb BIGINT NOT NULL DEFAULT 0,
    used_cpus BIGINT NOT NULL DEFAULT 0,
    used_memory_mb BIGINT NOT NULL DEFAULT 0,
    used_disk_gb BIGINT NOT NULL DEFAULT 0,
    used_instances BIGINT NOT NULL DEFAULT 0,
    expected_demand DOUBLE NOT NULL DEFAULT 0,
    demand_at DATETIME(6) NOT NULL,
    metrics_at DATETIME(6) NULL,
    updated_at DATETIME(6) NOT NULL,
    row_version BIGINT UNSIGNED NOT NULL DEFAULT 1,
    PRIMARY KEY (node_uuid),
    CONSTRAINT node_use_is_not_negative CHECK (
        used_cpus >= 0 AND used_memory_mb >= 0 AND used_disk_gb >= 0 AND used_instances >= 0
    )
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

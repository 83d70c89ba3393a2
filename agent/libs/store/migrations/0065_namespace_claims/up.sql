-- Guaranteed floor and ceiling of a namespace; at most one active claim each, by the structure of the table.
CREATE TABLE IF NOT EXISTS namespace_claims (
    uuid UUID NOT NULL,
    namespace VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    limit_cpus BIGINT NOT NULL,
    limit_memory_mb BIGINT NOT NULL,
    limit_disk_gb BIGINT NOT NULL,
    used_cpus BIGINT NOT NULL DEFAULT 0,
    used_memory_mb BIGINT NOT NULL DEFAULT 0,
    used_disk_gb BIGINT NOT NULL DEFAULT 0,
    coverage_state VARCHAR(32) CHARACTER SET ascii NOT NULL,
    active_namespace VARCHAR(255) COLLATE utf8mb4_bin
        GENERATED ALWAYS AS (IF(coverage_state = 'active', namespace, NULL)) STORED,
    expires_at DATETIME(6) NOT NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    row_version BIGINT UNSIGNED NOT NULL DEFAULT 1,
    PRIMARY KEY (uuid),
    UNIQUE KEY one_active_claim (active_namespace),
    KEY by_namespace (namespace, created_at),
    KEY by_expiry (coverage_state, expires_at),
    CONSTRAINT claim_use_is_not_negative CHECK (
        used_cpus >= 0 AND used_memory_mb >= 0 AND used_disk_gb >= 0
    )
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

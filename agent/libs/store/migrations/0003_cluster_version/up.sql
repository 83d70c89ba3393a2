-- One row: the release of the cluster, and the one it is moving to.
CREATE TABLE IF NOT EXISTS cluster_version (
    id TINYINT UNSIGNED NOT NULL,
    `release` VARCHAR(32) CHARACTER SET ascii NOT NULL,
    upgrading_to VARCHAR(32) CHARACTER SET ascii NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT one_cluster_version CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

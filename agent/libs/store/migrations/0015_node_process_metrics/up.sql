-- What each daemon of a node uses.
CREATE TABLE IF NOT EXISTS node_process_metrics (
    node_uuid UUID NOT NULL,
    process VARCHAR(64) CHARACTER SET ascii NOT NULL,
    cpu_fraction DOUBLE NOT NULL,
    rss BIGINT UNSIGNED NOT NULL,
    sampled_at DATETIME(6) NOT NULL,
    PRIMARY KEY (node_uuid, process)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

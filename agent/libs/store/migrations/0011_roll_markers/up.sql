-- Rolls that failed, until an operator clears them.
CREATE TABLE IF NOT EXISTS roll_markers (
    daemon VARCHAR(32) CHARACTER SET ascii NOT NULL,
    target VARCHAR(64) CHARACTER SET ascii NOT NULL,
    node_uuid UUID NOT NULL,
    reason TEXT NOT NULL,
    failed_at DATETIME(6) NOT NULL,
    PRIMARY KEY (daemon, target)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

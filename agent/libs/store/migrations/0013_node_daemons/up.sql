-- `state` is what the daemon says of itself, `unit_state` what the service manager says of it.
CREATE TABLE IF NOT EXISTS node_daemons (
    node_uuid UUID NOT NULL,
    daemon VARCHAR(32) CHARACTER SET ascii NOT NULL,
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    state VARCHAR(32) CHARACTER SET ascii NULL,
    unit_state VARCHAR(32) CHARACTER SET ascii NULL,
    unit_since DATETIME(6) NULL,
    incarnation UUID NULL,
    pid INT UNSIGNED NULL,
    `release` VARCHAR(32) CHARACTER SET ascii NULL,
    started_at DATETIME(6) NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (node_uuid, daemon)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

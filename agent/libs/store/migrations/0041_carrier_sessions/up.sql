CREATE TABLE IF NOT EXISTS carrier_sessions (
    node_uuid UUID NOT NULL,
    session_epoch BIGINT UNSIGNED NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    eligible BOOLEAN NOT NULL,
    draining BOOLEAN NOT NULL DEFAULT FALSE,
    weight INT UNSIGNED NOT NULL DEFAULT 100,
    PRIMARY KEY (node_uuid),
    KEY by_expiry (expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

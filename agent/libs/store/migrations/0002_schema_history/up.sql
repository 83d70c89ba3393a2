-- What was applied when, by whom, and what it said: an applied migration never changes.
CREATE TABLE IF NOT EXISTS schema_history (
    version INT UNSIGNED NOT NULL,
    name VARCHAR(128) CHARACTER SET ascii NOT NULL,
    checksum CHAR(64) CHARACTER SET ascii NOT NULL,
    duration_ms INT UNSIGNED NOT NULL,
    agent_version VARCHAR(32) CHARACTER SET ascii NOT NULL,
    applied_at DATETIME(6) NOT NULL,
    PRIMARY KEY (version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS namespaces (
    name VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    state VARCHAR(32) CHARACTER SET ascii NOT NULL,
    state_changed_at DATETIME(6) NOT NULL,
    state_message TEXT NULL,
    created_at DATETIME(6) NOT NULL,
    version SMALLINT UNSIGNED NOT NULL,
    row_version BIGINT UNSIGNED NOT NULL DEFAULT 1,
    PRIMARY KEY (name),
    KEY by_state (state, state_changed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

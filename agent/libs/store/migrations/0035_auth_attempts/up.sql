-- Failed attempts per source, namespace and window of ten seconds. No foreign key: the namespace is what was claimed.
CREATE TABLE IF NOT EXISTS auth_attempts (
    kind VARCHAR(32) CHARACTER SET ascii NOT NULL,
    source VARCHAR(64) CHARACTER SET ascii NOT NULL,
    namespace VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    window_start DATETIME(6) NOT NULL,
    attempts INT UNSIGNED NOT NULL,
    PRIMARY KEY (kind, source, namespace, window_start),
    KEY by_window (window_start)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Canonical texts of cluster-scope keys; a key without a row has its default.
CREATE TABLE IF NOT EXISTS cluster_config (
    key_name VARCHAR(64) CHARACTER SET ascii NOT NULL,
    value_text TEXT NOT NULL,
    is_secret BOOLEAN NOT NULL,
    version BIGINT UNSIGNED NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    updated_by VARCHAR(255) NOT NULL,
    PRIMARY KEY (key_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

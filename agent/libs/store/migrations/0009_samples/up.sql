-- Counts that one gateway takes and all publish.
CREATE TABLE IF NOT EXISTS samples (
    name VARCHAR(64) CHARACTER SET ascii NOT NULL,
    value BIGINT NOT NULL,
    sampled_at DATETIME(6) NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

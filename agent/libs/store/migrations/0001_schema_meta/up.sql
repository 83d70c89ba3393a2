-- One row: what a starting gateway compares itself with.
CREATE TABLE IF NOT EXISTS schema_meta (
    id TINYINT UNSIGNED NOT NULL,
    schema_version INT UNSIGNED NOT NULL,
    oldest_compatible INT UNSIGNED NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT one_schema CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

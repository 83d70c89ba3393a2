-- One row per user-visible key of any object; `object_id` is a hyphenated UUID or the name of a namespace.
CREATE TABLE IF NOT EXISTS object_metadata (
    object_type VARCHAR(32) CHARACTER SET ascii NOT NULL,
    object_id VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    meta_key VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    meta_value JSON NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (object_type, object_id, meta_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS namespace_key_scopes (
    key_uuid UUID NOT NULL,
    scope VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (key_uuid, scope),
    FOREIGN KEY (key_uuid) REFERENCES namespace_keys (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Who made a key: a namespace and its key, or a rule of federated identity.
CREATE TABLE IF NOT EXISTS namespace_key_provenance (
    key_uuid UUID NOT NULL,
    creator_namespace VARCHAR(255) COLLATE utf8mb4_bin NULL,
    creator_key VARCHAR(255) COLLATE utf8mb4_bin NULL,
    rule_uuid UUID NULL,
    rule_name VARCHAR(255) COLLATE utf8mb4_bin NULL,
    issuer VARCHAR(2048) NULL,
    subject VARCHAR(255) NULL,
    PRIMARY KEY (key_uuid),
    FOREIGN KEY (key_uuid) REFERENCES namespace_keys (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

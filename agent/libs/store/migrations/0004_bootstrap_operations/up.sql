-- The primary key guards each operation: its row is written in the transaction of what it records.
CREATE TABLE IF NOT EXISTS bootstrap_operations (
    operation VARCHAR(96) COLLATE utf8mb4_bin NOT NULL,
    operation_version SMALLINT UNSIGNED NOT NULL,
    input_digest CHAR(64) CHARACTER SET ascii NULL,
    artefact VARCHAR(255) NOT NULL,
    agent_version VARCHAR(32) CHARACTER SET ascii NOT NULL,
    fqdn VARCHAR(255) NOT NULL,
    completed_at DATETIME(6) NOT NULL,
    PRIMARY KEY (operation)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

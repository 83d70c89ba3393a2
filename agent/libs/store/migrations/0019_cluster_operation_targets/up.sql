-- Which objects show an operation in their history; observational ones never count as pending.
CREATE TABLE IF NOT EXISTS cluster_operation_targets (
    sequence BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    operation_uuid UUID NOT NULL,
    target_type VARCHAR(32) CHARACTER SET ascii NOT NULL,
    target_id VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    observational BOOLEAN NOT NULL,
    PRIMARY KEY (sequence),
    UNIQUE KEY one_per_target (operation_uuid, target_type, target_id),
    KEY by_target (target_type, target_id, observational, sequence),
    CONSTRAINT target_of_operation FOREIGN KEY (operation_uuid) REFERENCES cluster_operations (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

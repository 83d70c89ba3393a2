-- Why an operation ended badly.
CREATE TABLE IF NOT EXISTS cluster_operation_errors (
    operation_uuid UUID NOT NULL,
    code VARCHAR(64) CHARACTER SET ascii NOT NULL,
    message TEXT NOT NULL,
    details JSON NULL,
    origin VARCHAR(255) NOT NULL,
    traceback MEDIUMTEXT NULL,
    PRIMARY KEY (operation_uuid),
    CONSTRAINT error_of_operation FOREIGN KEY (operation_uuid) REFERENCES cluster_operations (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The steps of an operation as the API shows them.
CREATE TABLE IF NOT EXISTS cluster_operation_tasks (
    operation_uuid UUID NOT NULL,
    position SMALLINT UNSIGNED NOT NULL,
    task VARCHAR(64) CHARACTER SET ascii NOT NULL,
    PRIMARY KEY (operation_uuid, position),
    CONSTRAINT task_of_operation FOREIGN KEY (operation_uuid) REFERENCES cluster_operations (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

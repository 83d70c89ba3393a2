-- Edges to operations that must end first.
CREATE TABLE IF NOT EXISTS cluster_operation_dependencies (
    operation_uuid UUID NOT NULL,
    depends_on_uuid UUID NOT NULL,
    kind VARCHAR(32) CHARACTER SET ascii NOT NULL,
    wait_until DATETIME(6) NULL,
    on_timeout VARCHAR(32) CHARACTER SET ascii NOT NULL,
    satisfied_at DATETIME(6) NULL,
    PRIMARY KEY (operation_uuid, depends_on_uuid),
    KEY by_dependency (depends_on_uuid, satisfied_at),
    KEY by_wait (satisfied_at, wait_until),
    CONSTRAINT edge_of_operation FOREIGN KEY (operation_uuid) REFERENCES cluster_operations (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

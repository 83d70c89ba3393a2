-- Which storage of a node failed. Recovery reads this table and never the event log.
CREATE TABLE IF NOT EXISTS node_storage_health (
    node_uuid UUID NOT NULL,
    path VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    object_types VARCHAR(255) CHARACTER SET ascii NOT NULL,
    healthy BOOLEAN NOT NULL,
    detail TEXT NULL,
    since DATETIME(6) NOT NULL,
    last_checked DATETIME(6) NOT NULL,
    PRIMARY KEY (node_uuid, path)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Uniqueness of a port on its node is the allocator's.
CREATE TABLE IF NOT EXISTS instance_ports (
    instance_uuid UUID NOT NULL,
    kind VARCHAR(32) CHARACTER SET ascii NOT NULL,
    port INT UNSIGNED NOT NULL,
    PRIMARY KEY (instance_uuid, kind),
    CONSTRAINT ports_of_instance FOREIGN KEY (instance_uuid) REFERENCES instances (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

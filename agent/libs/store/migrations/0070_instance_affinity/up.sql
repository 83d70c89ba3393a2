-- Wishes about neighbours as they were when the instance was created; a later placement asks for the same.
CREATE TABLE IF NOT EXISTS instance_affinity (
    instance_uuid UUID NOT NULL,
    kind VARCHAR(32) CHARACTER SET ascii NOT NULL,
    tag VARCHAR(128) COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (instance_uuid, kind, tag),
    CONSTRAINT affinity_of_instance FOREIGN KEY (instance_uuid) REFERENCES instances (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

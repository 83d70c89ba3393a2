CREATE TABLE IF NOT EXISTS instance_side_channels (
    instance_uuid UUID NOT NULL,
    position SMALLINT UNSIGNED NOT NULL,
    channel VARCHAR(32) CHARACTER SET ascii NOT NULL,
    PRIMARY KEY (instance_uuid, position),
    CONSTRAINT channels_of_instance FOREIGN KEY (instance_uuid) REFERENCES instances (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The generation of each network that first contains the instance: what must be rendered before the guest starts.
-- The network's present generation would be the wrong answer, because others keep raising it.
CREATE TABLE IF NOT EXISTS instance_renders (
    instance_uuid UUID NOT NULL,
    network_uuid UUID NOT NULL,
    generation BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (instance_uuid, network_uuid),
    CONSTRAINT renders_of_instance FOREIGN KEY (instance_uuid) REFERENCES instances (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

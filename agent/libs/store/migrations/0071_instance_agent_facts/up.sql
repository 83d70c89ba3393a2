-- What the guest's agent said about itself. The values come from the guest and are never trusted.
CREATE TABLE IF NOT EXISTS instance_agent_facts (
    instance_uuid UUID NOT NULL,
    fact VARCHAR(128) COLLATE utf8mb4_bin NOT NULL,
    fact_value JSON NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (instance_uuid, fact),
    CONSTRAINT facts_of_instance FOREIGN KEY (instance_uuid) REFERENCES instances (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

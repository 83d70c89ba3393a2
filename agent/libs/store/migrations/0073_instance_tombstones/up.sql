-- Instances that were removed from the record while their node could not be asked; the node clears them up if it
-- comes back.
CREATE TABLE IF NOT EXISTS instance_tombstones (
    node_uuid UUID NOT NULL,
    instance_uuid UUID NOT NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (node_uuid, instance_uuid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

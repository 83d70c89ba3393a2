-- The node that speaks for a network. `epoch` grows with every change and fences a carrier that was replaced.
CREATE TABLE IF NOT EXISTS network_carriers (
    network_uuid UUID NOT NULL,
    node_uuid UUID NULL,
    epoch BIGINT UNSIGNED NOT NULL,
    session_epoch BIGINT UNSIGNED NOT NULL,
    assigned_at DATETIME(6) NOT NULL,
    PRIMARY KEY (network_uuid),
    KEY by_node (node_uuid, network_uuid),
    FOREIGN KEY (network_uuid) REFERENCES networks (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

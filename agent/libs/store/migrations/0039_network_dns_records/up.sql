CREATE TABLE IF NOT EXISTS network_dns_records (
    network_uuid UUID NOT NULL,
    name VARCHAR(253) CHARACTER SET ascii NOT NULL,
    value INET4 NOT NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (network_uuid, name),
    FOREIGN KEY (network_uuid) REFERENCES networks (uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Single flight of downloads: at most one lease per artifact and one per resolved address.
CREATE TABLE IF NOT EXISTS artifact_fetches (
    flight_key BINARY(32) NOT NULL,
    operation_uuid UUID NOT NULL,
    node_uuid UUID NOT NULL,
    lease_until DATETIME(6) NOT NULL,
    PRIMARY KEY (flight_key),
    KEY by_operation (operation_uuid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

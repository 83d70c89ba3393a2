-- Who restarts a daemon at present during a roll.
CREATE TABLE IF NOT EXISTS roll_slots (
    daemon VARCHAR(32) CHARACTER SET ascii NOT NULL,
    slot SMALLINT UNSIGNED NOT NULL,
    node_uuid UUID NOT NULL,
    target VARCHAR(64) CHARACTER SET ascii NOT NULL,
    lease_until DATETIME(6) NOT NULL,
    PRIMARY KEY (daemon, slot)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

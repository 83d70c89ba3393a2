-- The event log. No foreign key: references are pruned by their own age.
CREATE TABLE IF NOT EXISTS events (
    event_uuid UUID NOT NULL,
    event_type VARCHAR(32) CHARACTER SET ascii NOT NULL,
    occurred_at DATETIME(6) NOT NULL,
    received_at DATETIME(6) NOT NULL,
    fqdn VARCHAR(255) NOT NULL,
    daemon VARCHAR(32) NULL,
    duration DOUBLE NULL,
    message TEXT NOT NULL,
    extra JSON NULL,
    request_id VARCHAR(64) NULL,
    trace_id CHAR(32) CHARACTER SET ascii NULL,
    PRIMARY KEY (event_uuid),
    INDEX idx_events_request_id (request_id, occurred_at),
    INDEX idx_events_type_time (event_type, occurred_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The last runs of each schedule; the key makes firing one slot twice impossible.
CREATE TABLE IF NOT EXISTS recurring_runs (
    recurrence_uuid UUID NOT NULL,
    scheduled_for DATETIME(6) NOT NULL,
    fired_at DATETIME(6) NOT NULL,
    operation_uuid UUID NULL,
    outcome VARCHAR(32) CHARACTER SET ascii NOT NULL,
    skipped_reason VARCHAR(64) CHARACTER SET ascii NULL,
    PRIMARY KEY (recurrence_uuid, scheduled_for)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

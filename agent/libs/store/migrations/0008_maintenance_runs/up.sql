-- Schedules of the leader's tasks, kept here so that an election neither repeats nor skips one.
CREATE TABLE IF NOT EXISTS maintenance_runs (
    task VARCHAR(64) CHARACTER SET ascii NOT NULL,
    period_s INT UNSIGNED NOT NULL,
    next_due DATETIME(6) NOT NULL,
    running_fence BIGINT UNSIGNED NULL,
    last_started DATETIME(6) NULL,
    last_success DATETIME(6) NULL,
    last_duration_ms INT UNSIGNED NULL,
    last_error TEXT NULL,
    consecutive_failures INT UNSIGNED NOT NULL DEFAULT 0,
    PRIMARY KEY (task)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

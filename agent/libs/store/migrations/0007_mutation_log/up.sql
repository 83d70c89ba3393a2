-- Replies of recent mutations. The row is the first statement of its transaction, so a repeated call waits for the
-- first one and then finds the reply.
CREATE TABLE IF NOT EXISTS mutation_log (
    mutation_id UUID NOT NULL,
    rpc VARCHAR(64) CHARACTER SET ascii NOT NULL,
    reply MEDIUMBLOB NOT NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (mutation_id),
    KEY by_age (created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

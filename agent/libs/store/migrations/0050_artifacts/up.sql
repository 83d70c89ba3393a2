-- `live_key` is a hash of namespace, type and source; it is set to NULL by the delete, so one live artifact exists
-- for each of them.
CREATE TABLE IF NOT EXISTS artifacts (
    uuid UUID NOT NULL,
    artifact_type VARCHAR(32) CHARACTER SET ascii NOT NULL,
    source_url VARCHAR(2048) COLLATE utf8mb4_bin NOT NULL,
    name VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    namespace VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    shared BOOLEAN NOT NULL DEFAULT FALSE,
    max_versions INT UNSIGNED NOT NULL,
    highest_index INT UNSIGNED NOT NULL DEFAULT 0,
    error_message TEXT NULL,
    live_key BINARY(32) NULL,
    state VARCHAR(32) CHARACTER SET ascii NOT NULL,
    state_changed_at DATETIME(6) NOT NULL,
    state_message TEXT NULL,
    created_at DATETIME(6) NOT NULL,
    version SMALLINT UNSIGNED NOT NULL,
    row_version BIGINT UNSIGNED NOT NULL DEFAULT 1,
    PRIMARY KEY (uuid),
    UNIQUE KEY one_live (live_key),
    KEY by_name (namespace, name),
    KEY by_namespace_state (namespace, state),
    KEY by_shared_name (name, shared),
    KEY by_source (source_url(255)),
    KEY by_state (state, state_changed_at),
    KEY by_creation (created_at, uuid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

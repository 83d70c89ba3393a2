-- `occurred_at` and `event_type` are copies that never change: reading the newest N is one index range, pruning one
-- single-table DELETE.
CREATE TABLE IF NOT EXISTS event_objects (
    object_type VARCHAR(32) CHARACTER SET ascii NOT NULL,
    object_id VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    occurred_at DATETIME(6) NOT NULL,
    event_uuid UUID NOT NULL,
    event_type VARCHAR(32) CHARACTER SET ascii NOT NULL,
    PRIMARY KEY (object_type, object_id, occurred_at, event_uuid),
    INDEX idx_eo_object_type_time (object_type, object_id, event_type, occurred_at, event_uuid),
    INDEX idx_eo_type_time (event_type, occurred_at),
    INDEX idx_eo_objtype_time (object_type, occurred_at),
    INDEX idx_eo_event (event_uuid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

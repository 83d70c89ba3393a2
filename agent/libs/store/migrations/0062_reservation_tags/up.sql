-- Tags of placed instances, visible to the next decision before the instance is built.
CREATE TABLE IF NOT EXISTS reservation_tags (
    owner_uuid UUID NOT NULL,
    namespace VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    tag VARCHAR(128) COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (owner_uuid, namespace, tag),
    KEY by_tag (namespace, tag),
    CONSTRAINT tags_of_reservation FOREIGN KEY (owner_uuid)
        REFERENCES placement_reservations (owner_uuid) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

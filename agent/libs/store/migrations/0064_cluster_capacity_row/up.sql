INSERT IGNORE INTO cluster_capacity (id, updated_at) VALUES (1, UTC_TIMESTAMP(6));

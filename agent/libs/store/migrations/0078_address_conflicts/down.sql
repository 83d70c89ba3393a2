ALTER TABLE network_interfaces DROP COLUMN IF EXISTS address_conflict_at;

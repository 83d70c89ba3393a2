-- Since when somebody else holds the address of an interface, as the audit has told: it is told once.
ALTER TABLE network_interfaces ADD COLUMN IF NOT EXISTS address_conflict_at DATETIME(6) NULL, ALGORITHM = INSTANT, LOCK = NONE;

-- The node takes no further instances with interfaces; follows from the conditions of its sf-net.
ALTER TABLE node_capacity ADD COLUMN IF NOT EXISTS network_unfit BOOLEAN NOT NULL DEFAULT FALSE;

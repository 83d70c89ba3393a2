DROP TABLE IF EXISTS placement_reservations;

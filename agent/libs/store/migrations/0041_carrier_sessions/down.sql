DROP TABLE IF EXISTS carrier_sessions;

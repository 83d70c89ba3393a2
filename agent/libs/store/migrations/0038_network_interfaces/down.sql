DROP TABLE IF EXISTS network_interfaces;

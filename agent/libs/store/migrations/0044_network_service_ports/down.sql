DROP TABLE IF EXISTS network_service_ports;

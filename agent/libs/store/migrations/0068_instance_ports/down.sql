DROP TABLE IF EXISTS instance_ports;

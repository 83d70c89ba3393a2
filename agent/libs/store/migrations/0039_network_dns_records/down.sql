DROP TABLE IF EXISTS network_dns_records;

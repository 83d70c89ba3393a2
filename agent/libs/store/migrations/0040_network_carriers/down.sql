DROP TABLE IF EXISTS network_carriers;

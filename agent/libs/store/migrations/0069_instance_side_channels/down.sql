DROP TABLE IF EXISTS instance_side_channels;

DROP TABLE IF EXISTS instance_renders;

DROP TABLE IF EXISTS reservation_tags;

DROP TABLE IF EXISTS event_objects;

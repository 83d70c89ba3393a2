DROP TABLE IF EXISTS roll_markers;

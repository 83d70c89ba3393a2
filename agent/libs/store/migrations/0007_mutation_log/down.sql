DROP TABLE IF EXISTS mutation_log;

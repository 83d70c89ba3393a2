DROP TABLE IF EXISTS recurring_runs;

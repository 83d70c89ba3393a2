DELETE FROM cluster_capacity;

DROP TABLE IF EXISTS resource_pool_allocations;

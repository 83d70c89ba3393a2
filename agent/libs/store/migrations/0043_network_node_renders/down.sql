DROP TABLE IF EXISTS network_node_renders;

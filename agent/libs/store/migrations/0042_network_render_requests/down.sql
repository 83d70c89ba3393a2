DROP TABLE IF EXISTS network_render_requests;

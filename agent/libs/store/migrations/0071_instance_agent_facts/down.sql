DROP TABLE IF EXISTS instance_agent_facts;

DROP TABLE IF EXISTS url_validators;

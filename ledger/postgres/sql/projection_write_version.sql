-- $1 version
INSERT INTO version (number) VALUES ($1)

-- Drops a database if it is there and ends whatever is still connected to it.
-- psql variables: name.
DROP DATABASE IF EXISTS :"name" WITH (FORCE);

-- $1 community, $2 feeder, $3 name
INSERT INTO feeders (community, feeder, name) VALUES ($1, $2, $3)
ON CONFLICT (community, feeder) DO UPDATE SET name = excluded.name

-- $1 community, $2 building, $3 feeder, $4 name
INSERT INTO buildings (community, building, feeder, name) VALUES ($1, $2, $3, $4)
ON CONFLICT (community, building) DO UPDATE SET feeder = excluded.feeder, name = excluded.name

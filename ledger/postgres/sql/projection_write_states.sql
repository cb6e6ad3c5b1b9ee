-- $1 community, $2 meters, $3 states
INSERT INTO meter_states (community, meter, state)
SELECT $1, unnest($2::text[]), unnest($3::bytea[])
ON CONFLICT (community, meter) DO UPDATE SET state = excluded.state

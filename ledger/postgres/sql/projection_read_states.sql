-- What the fold remembers of meters. $1 community, $2 meters
SELECT meter, state FROM meter_states WHERE community = $1 AND meter = ANY($2::text[])

-- What the fold remembers of meters. ?1 meters, as a JSON array
SELECT meter, state FROM meter_states WHERE meter IN (SELECT value FROM json_each(?1))

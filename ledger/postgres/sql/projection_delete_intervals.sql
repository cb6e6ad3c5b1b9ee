-- Make room for intervals that replace others. $1 community, $2 meters, $3 starts
DELETE FROM meter_intervals i
USING unnest($2::text[], $3::timestamptz[]) AS gone (meter, start)
WHERE i.community = $1 AND i.meter = gone.meter AND i.start = gone.start

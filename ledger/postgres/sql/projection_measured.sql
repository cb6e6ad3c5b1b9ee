-- The energy of intervals that were measured. $1 community, $2 meter, $3 starts, $4 position of the last event
SELECT start, import_wh, export_wh FROM meter_intervals
WHERE community = $1 AND meter = $2 AND start = ANY($3::timestamptz[]) AND quality = 'measured' AND decided_by <= $4

-- The energy of intervals that were measured. ?1 meter, ?2 starts as a JSON array, ?3 position of the last event
SELECT start, import_wh, export_wh FROM meter_intervals
WHERE meter = ?1 AND start IN (SELECT value FROM json_each(?2)) AND quality = 'measured' AND decided_by <= ?3

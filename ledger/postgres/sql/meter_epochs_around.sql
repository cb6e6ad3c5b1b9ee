-- A meter's intervals around an instant: the epoch of the last one that ends before it, that of the first one that ends
-- there or later, until when the newest is, and the highest register at its end; NULL where there is none.
-- $1 community, $2 meter, $3 instant, $4 length of an interval
SELECT
    (SELECT i.epoch FROM meter_intervals i
     WHERE i.community = $1 AND i.meter = $2 AND i.start < $3::timestamptz - $4::interval ORDER BY i.start DESC LIMIT 1),
    (SELECT i.epoch FROM meter_intervals i
     WHERE i.community = $1 AND i.meter = $2 AND i.start >= $3::timestamptz - $4::interval ORDER BY i.start LIMIT 1),
    newest.start + $4::interval,
    greatest(newest.import_register_wh, newest.export_register_wh)
FROM (SELECT) one
LEFT JOIN LATERAL (
    SELECT i.start, i.import_register_wh, i.export_register_wh FROM meter_intervals i
    WHERE i.community = $1 AND i.meter = $2 ORDER BY i.start DESC LIMIT 1
) newest ON true

-- A meter's intervals around an instant: the epoch of the last one that ends before it, and the highest register at its
-- end; the epoch of the first one that ends there or later; until when the newest is. NULL where there is none.
-- $1 community, $2 meter, $3 instant, $4 length of an interval
SELECT
    before.epoch, greatest(before.import_register_wh, before.export_register_wh),
    (SELECT i.epoch FROM meter_intervals i
     WHERE i.community = $1 AND i.meter = $2 AND i.start >= $3::timestamptz - $4::interval ORDER BY i.start LIMIT 1),
    (SELECT max(i.start) + $4::interval FROM meter_intervals i WHERE i.community = $1 AND i.meter = $2)
FROM (SELECT) one
LEFT JOIN LATERAL (
    SELECT i.epoch, i.import_register_wh, i.export_register_wh FROM meter_intervals i
    WHERE i.community = $1 AND i.meter = $2 AND i.start < $3::timestamptz - $4::interval
    ORDER BY i.start DESC LIMIT 1
) before ON true

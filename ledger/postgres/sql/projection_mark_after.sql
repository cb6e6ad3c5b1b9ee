-- The oldest registers that were read after an instant. $1 community, $2 meter, $3 instant, $4 interval
(
    SELECT start + $4::interval AS at, import_register_wh AS import_wh, export_register_wh AS export_wh, position, epoch
    FROM meter_intervals
    WHERE community = $1 AND meter = $2 AND end_measured AND start > $3::timestamptz - $4::interval
    ORDER BY start LIMIT 1
)
UNION ALL
(
    SELECT at, import_wh, export_wh, position, epoch FROM readings_aside
    WHERE community = $1 AND meter = $2 AND verdict = 'opened' AND at > $3
    ORDER BY at, epoch LIMIT 1
)
ORDER BY at, epoch LIMIT 1

-- The oldest registers that were told after an instant. $1 community, $2 meter, $3 instant, $4 interval
(
    SELECT
        start + $4::interval AS at, import_register_wh AS import_wh, export_register_wh AS export_wh, position, epoch,
        end_quality = 'measured' AS measured
    FROM meter_intervals
    WHERE community = $1 AND meter = $2 AND end_quality <> 'spread' AND start > $3::timestamptz - $4::interval
    ORDER BY start LIMIT 1
)
UNION ALL
(
    SELECT at, import_wh, export_wh, position, epoch, quality = 'measured' AS measured
    FROM readings_aside
    WHERE community = $1 AND meter = $2 AND verdict = 'opened' AND at > $3
    ORDER BY at, epoch, measured DESC LIMIT 1
)
ORDER BY at, epoch, measured DESC LIMIT 1

-- The oldest registers that were told after an instant. ?1 meter, ?2 instant, ?3 interval
SELECT * FROM (
    SELECT
        start + ?3 AS at, import_register_wh AS import_wh, export_register_wh AS export_wh, position, epoch,
        end_quality = 'measured' AS measured
    FROM meter_intervals
    WHERE meter = ?1 AND end_quality <> 'spread' AND start > ?2 - ?3
    ORDER BY start LIMIT 1
)
UNION ALL
SELECT * FROM (
    SELECT at, import_wh, export_wh, position, epoch, measured FROM openings
    WHERE meter = ?1 AND at > ?2
    ORDER BY at, epoch, measured DESC LIMIT 1
)
ORDER BY at, epoch, measured DESC LIMIT 1

-- A building's meters that are not retired by $3, each with the newest interval of which its energy is known; none before
-- the first. $1 community, $2 building
SELECT m.meter, m.role, i.start, i.import_wh, i.export_wh, i.quality
FROM meters m
LEFT JOIN LATERAL (
    SELECT start, import_wh, export_wh, quality FROM meter_intervals
    WHERE community = m.community AND meter = m.meter ORDER BY start DESC LIMIT 1
) i ON true
WHERE m.community = $1 AND m.building = $2 AND (m.until IS NULL OR m.until > $3)
ORDER BY m.meter

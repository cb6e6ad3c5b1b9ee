-- What the main meters show together in the intervals that start in [$2, $3), where all of them do. $1 community
SELECT i.start, sum(i.import_wh)::bigint AS import_wh, sum(i.export_wh)::bigint AS export_wh
FROM meters m JOIN meter_intervals i ON i.community = m.community AND i.meter = m.meter
WHERE m.community = $1 AND m.role = 'main' AND i.start >= $2 AND i.start < $3
    AND i.start >= m.since AND (m.until IS NULL OR i.start < m.until)
GROUP BY i.start
HAVING count(*) = (
    SELECT count(*) FROM meters e
    WHERE e.community = $1 AND e.role = 'main' AND e.since <= i.start AND (e.until IS NULL OR e.until > i.start)
)
ORDER BY i.start

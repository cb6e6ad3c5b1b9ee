-- What the main meters show together in the intervals that start from ?1 to before ?2, where all of them do.
SELECT i.start, sum(i.import_wh) AS import_wh, sum(i.export_wh) AS export_wh
FROM meter_intervals i JOIN meters m ON m.meter = i.meter
WHERE i.start >= ?1 AND i.start < ?2 AND m.role = 'main'
    AND i.start >= m.since AND (m.until IS NULL OR i.start < m.until)
GROUP BY i.start
HAVING count(*) = (
    SELECT count(*) FROM meters e
    WHERE e.role = 'main' AND e.since <= i.start AND (e.until IS NULL OR e.until > i.start)
)
ORDER BY i.start

-- What the main meters show together in the intervals that start from ?1 to before ?2, where all of them do. A cross
-- join begins with its left side: there are few main meters.
SELECT i.start, sum(i.import_wh) AS import_wh, sum(i.export_wh) AS export_wh
FROM meters m CROSS JOIN meter_intervals i ON i.meter = m.meter
WHERE i.start >= ?1 AND i.start < ?2 AND m.role = 'main'
    AND i.start >= m.since AND (m.until IS NULL OR i.start < m.until)
GROUP BY i.start
HAVING count(*) = (
    SELECT count(*) FROM meters e
    WHERE e.role = 'main' AND e.since <= i.start AND (e.until IS NULL OR e.until > i.start)
)
ORDER BY i.start

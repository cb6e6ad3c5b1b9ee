-- What every building took and gave in the intervals that start from ?1 to before ?2, in order of time: the sums of
-- its connection meters.
SELECT i.start, m.building, sum(i.import_wh) AS import_wh, sum(i.export_wh) AS export_wh
FROM meter_intervals i JOIN meters m ON m.meter = i.meter
WHERE i.start >= ?1 AND i.start < ?2 AND m.role = 'connection'
    AND i.start >= m.since AND (m.until IS NULL OR i.start < m.until)
GROUP BY i.start, m.building
ORDER BY i.start, m.building

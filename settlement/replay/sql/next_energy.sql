-- The start of the first interval from ?1 on of which a building's energy is known.
SELECT i.start FROM meter_intervals i JOIN meters m ON m.meter = i.meter
WHERE i.start >= ?1 AND m.role = 'connection' AND i.start >= m.since AND (m.until IS NULL OR i.start < m.until)
ORDER BY i.start LIMIT 1

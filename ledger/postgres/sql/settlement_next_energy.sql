-- The start of the first interval from $2 on of which a building's energy is known. $1 community
SELECT min(next.start) AS start
FROM meters m
CROSS JOIN LATERAL (
    SELECT i.start FROM meter_intervals i
    WHERE i.community = m.community AND i.meter = m.meter AND i.start >= greatest($2, m.since)
        AND (m.until IS NULL OR i.start < m.until)
    ORDER BY i.start LIMIT 1
) next
WHERE m.community = $1 AND m.role = 'connection'

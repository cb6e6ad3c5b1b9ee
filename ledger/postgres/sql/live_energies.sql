-- The intervals of each meter of $2 that start in its span [$3, $4) and were decided by an event at positions [$5, $6), in
-- order of time; as in a building's energy, those alone that begin while the meter is there. $1 community
SELECT i.decided_by, i.start, i.import_wh, i.export_wh, i.quality
FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[]) AS wanted (meter, begin, until)
JOIN meters m ON m.community = $1 AND m.meter = wanted.meter
JOIN meter_intervals i
    ON i.community = $1 AND i.meter = wanted.meter AND i.start >= wanted.begin AND i.start < wanted.until
WHERE i.decided_by >= $5 AND i.decided_by < $6 AND i.start >= m.since AND (m.until IS NULL OR i.start < m.until)
ORDER BY i.start

-- The readings out of which the energies of some meters follow, from the one that tells the first interval's beginning.
-- $1 community, $2 meters, $3 begin, $4 until
WITH decided AS (
    SELECT position FROM meter_intervals
    WHERE community = $1 AND meter = ANY($2::text[]) AND start >= $3 AND start < $4
    UNION
    SELECT first.position
    FROM unnest($2::text[]) AS m (meter)
    CROSS JOIN LATERAL (
        (
            SELECT position, start AS at FROM meter_intervals
            WHERE community = $1 AND meter = m.meter AND start < $3 ORDER BY start DESC LIMIT 1
        )
        UNION ALL
        (
            SELECT position, at FROM readings_aside
            WHERE community = $1 AND meter = m.meter AND verdict = 'opened' AND at < $4 ORDER BY at DESC LIMIT 1
        )
    ) AS first
)
SELECT e.position, e.stream, e.sequence, e.body_hash, e.entry_hash, e.body, e.envelope
FROM decided d JOIN book.events e ON e.community = $1 AND e.position = d.position
ORDER BY e.position

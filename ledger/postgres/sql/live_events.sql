-- The readings of the meters of buildings $4 and the settlement's runs at positions [$2, $3), $5 at the most, in their
-- order. Bodies are canonical, so the type of a run is written in one way, and nowhere else within a body. $1 community
SELECT e.position, m.building, m.meter, m.role, e.sequence, e.entry_hash, e.body
FROM book.events e
LEFT JOIN meters m ON m.community = e.community AND e.stream = 'meter/' || m.meter
WHERE e.community = $1 AND e.position >= $2 AND e.position < $3
    AND (
        m.building = ANY($4::text[])
        OR e.stream = 'settlement' AND position('"type":"settlement-run/1"'::bytea IN e.body) > 0
    )
ORDER BY e.position LIMIT $5

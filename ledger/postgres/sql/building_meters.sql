-- A building's meters after $3 by name, $4 at the most, each with the newest link of its chain; none where it has none
-- yet. $1 community, $2 building
SELECT m.meter, m.role, m.model, m.rated_w, m.since, m.until, h.sequence, h.hash
FROM meters m
LEFT JOIN book.stream_heads h ON h.community = m.community AND h.stream = 'meter/' || m.meter
WHERE m.community = $1 AND m.building = $2 AND m.meter > $3
ORDER BY m.meter LIMIT $4

-- The newest links of the chain of each of a building's meters, $3 at the most of each. $1 community, $2 building
SELECT m.meter, e.body
FROM meters m
JOIN book.stream_heads h ON h.community = m.community AND h.stream = 'meter/' || m.meter
JOIN book.events e ON e.community = m.community AND e.stream = h.stream AND e.sequence > h.sequence - $3
WHERE m.community = $1 AND m.building = $2

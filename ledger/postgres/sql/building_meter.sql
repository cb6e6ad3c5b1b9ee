-- One meter of a building, with the newest link of its chain. $1 community, $2 building, $3 meter
SELECT m.meter, m.role, m.model, m.rated_w, m.since, m.until, h.sequence, h.hash
FROM meters m
LEFT JOIN book.stream_heads h ON h.community = m.community AND h.stream = 'meter/' || m.meter
WHERE m.community = $1 AND m.building = $2 AND m.meter = $3

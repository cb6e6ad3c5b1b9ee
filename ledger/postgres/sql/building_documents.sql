-- A building's documents behind a position of the log, in order of issue, $4 at the most. $1 community, $2 building,
-- $3 position
SELECT i.position, e.body
FROM invoices i JOIN book.events e ON e.community = i.community AND e.position = i.position
WHERE i.community = $1 AND i.building = $2 AND i.position > $3
ORDER BY i.position LIMIT $4

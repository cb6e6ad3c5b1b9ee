-- A document of a building by its number. $1 community, $2 building, $3 number
SELECT e.body
FROM invoices i JOIN book.events e ON e.community = i.community AND e.position = i.position
WHERE i.community = $1 AND i.building = $2 AND i.number = $3

-- The event that holds a document of a building, by the document's number. $1 community, $2 building, $3 number
SELECT e.stream, e.sequence, e.position, e.body_hash, e.entry_hash, e.body
FROM invoices i JOIN book.events e ON e.community = i.community AND e.position = i.position
WHERE i.community = $1 AND i.building = $2 AND i.number = $3

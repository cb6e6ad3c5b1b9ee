-- A building's documents in their order: those that the projections have, and those after the position that they
-- have come to; the text that is looked for there may stand in other events too: whoever reads them can tell.
-- $1 community, $2 building, $3 that position
SELECT e.position, e.body
FROM invoices i JOIN book.events e ON e.community = i.community AND e.position = i.position
WHERE i.community = $1 AND i.building = $2 AND i.position < $3
UNION ALL
SELECT position, body FROM book.events
WHERE community = $1 AND position >= $3 AND stream NOT LIKE 'meter/%' AND stream = 'settlement'
    AND position('"type":"invoice-issued/1"'::bytea IN body) > 0
ORDER BY position

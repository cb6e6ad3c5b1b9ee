-- The bodies that make the registry, from a position on, in order of the book. $1 community, $2 position
SELECT position, body FROM book.events
WHERE community = $1 AND position >= $2 AND stream NOT LIKE 'meter/%'
    AND (stream IN ('registry', 'market') OR stream LIKE 'device/%')
ORDER BY position

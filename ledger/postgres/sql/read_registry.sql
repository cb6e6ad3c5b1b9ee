-- The bodies that make the registry, in order of the book. $1 community
SELECT position, body FROM book.events
WHERE community = $1 AND stream NOT LIKE 'meter/%' AND (stream IN ('registry', 'market') OR stream LIKE 'device/%')
ORDER BY position

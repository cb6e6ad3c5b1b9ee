-- The events of the market, the registry and the buildings before position $3, from $2 on. $1 community
SELECT position, stream, sequence, body FROM book.events
WHERE community = $1 AND stream NOT LIKE 'meter/%' AND position >= $2 AND position < $3
    AND (stream IN ('registry', 'market') OR stream LIKE 'device/%' OR stream LIKE 'building/%')
ORDER BY position

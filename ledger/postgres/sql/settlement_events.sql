-- The events of registry, devices, market, buildings and settlement before position $3, from $2 on. $1 community
SELECT position, stream, sequence, body FROM book.events
WHERE community = $1 AND stream NOT LIKE 'meter/%' AND position >= $2 AND position < $3
    AND (stream IN ('registry', 'market', 'settlement') OR stream LIKE 'device/%' OR stream LIKE 'building/%')
ORDER BY position

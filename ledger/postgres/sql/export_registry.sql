-- What makes keys, meters and blocks, in order of the log. $1 community, $2 position after the last
SELECT position, stream, sequence, body_hash, entry_hash, body, envelope FROM book.events
WHERE community = $1 AND stream NOT LIKE 'meter/%' AND position < $2 AND (stream = 'registry' OR stream LIKE 'device/%')
ORDER BY position

-- The events of a stream behind sequence $3, $4 at the most. $1 community, $2 stream
SELECT position, sequence, body_hash, entry_hash, envelope, body
FROM book.events
WHERE community = $1 AND stream = $2 AND sequence > $3
ORDER BY sequence LIMIT $4

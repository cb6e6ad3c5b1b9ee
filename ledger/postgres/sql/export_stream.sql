-- One stream in its order, which is also the log's. $1 community, $2 position after the last, $3 stream
SELECT position, stream, sequence, body_hash, entry_hash, body, envelope FROM book.events
WHERE community = $1 AND position < $2 AND stream = $3
ORDER BY sequence

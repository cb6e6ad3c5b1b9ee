-- The events of the settlement's stream: runs and documents. $1 community
SELECT position, stream, sequence, body_hash, entry_hash, body, envelope FROM book.events
WHERE community = $1 AND stream = 'settlement' ORDER BY sequence

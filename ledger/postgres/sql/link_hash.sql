-- The entry hash of an event. $1 community, $2 stream, $3 sequence
SELECT entry_hash FROM book.events WHERE community = $1 AND stream = $2 AND sequence = $3

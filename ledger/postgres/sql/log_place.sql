-- Where an event stands in the log. $1 community, $2 stream, $3 sequence
SELECT position, entry_hash FROM book.events WHERE community = $1 AND stream = $2 AND sequence = $3

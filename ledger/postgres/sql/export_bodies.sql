-- Bodies of consecutive events of a stream. $1 community, $2 stream, $3 first sequence, $4 last sequence
SELECT body FROM book.events
WHERE community = $1 AND stream = $2 AND sequence BETWEEN $3 AND $4
ORDER BY sequence

-- Streams by name with their heads, a page at a time. $1 community, $2 name before the first, $3 rows at most
SELECT stream, sequence, hash FROM book.stream_heads
WHERE community = $1 AND stream > $2
ORDER BY stream LIMIT $3

-- The heads of many streams; those without events are missing. $1 community, $2 streams
SELECT stream, sequence, hash FROM book.stream_heads WHERE community = $1 AND stream = ANY($2::text[])

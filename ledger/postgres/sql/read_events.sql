-- A page of the book. $1 community, $2 first position, $3 position after the last
SELECT position, stream, sequence, body FROM book.events
WHERE community = $1 AND position >= $2 AND position < $3
ORDER BY position

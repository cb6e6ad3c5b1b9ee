-- Entry hashes by position. $1 community, $2 first position, $3 position after the last
SELECT entry_hash FROM book.events
WHERE community = $1 AND position >= $2 AND position < $3
ORDER BY position

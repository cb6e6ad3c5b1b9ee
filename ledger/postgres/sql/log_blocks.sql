-- Blocks with a number above $2, in order, $3 at the most. $1 community
SELECT number, previous, root, size, sealed_at, hash FROM blocks
WHERE community = $1 AND number > $2 ORDER BY number LIMIT $3

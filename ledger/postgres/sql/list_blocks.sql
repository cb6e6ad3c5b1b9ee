-- $1 community
SELECT number, previous, root, size, sealed_at, hash FROM blocks WHERE community = $1 ORDER BY number

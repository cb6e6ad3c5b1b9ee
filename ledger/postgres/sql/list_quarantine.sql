-- What was refused, newest first. $1 community, $2 most rows
SELECT code, device, stream, sequence, what, first_at, last_at, times, resolved_at, resolution, refused_as,
    encode(digest, 'hex') AS digest
FROM book.quarantine WHERE community = $1 ORDER BY last_at DESC, digest LIMIT $2

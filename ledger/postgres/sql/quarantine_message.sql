-- A message, once for each code that it was refused with. $1 community, $2 digest
SELECT
    digest, code, device, stream, sequence, what, first_at, last_at, times, resolved_at, resolution, resolved_by,
    refused_as, message
FROM book.quarantine WHERE community = $1 AND digest = $2 ORDER BY last_at DESC, code

-- What was refused, newest first, behind a place in that order. $1 community, $2 last_at, $3 digest, $4 code of that
-- place, $5 one code only, or nothing for all, $6 most rows
SELECT
    digest, code, device, stream, sequence, what, first_at, last_at, times, resolved_at, resolution, resolved_by,
    refused_as
FROM book.quarantine
WHERE community = $1 AND (last_at, digest, code) < ($2, $3, $4) AND ($5::text = '' OR code = $5)
ORDER BY last_at DESC, digest DESC, code DESC LIMIT $6

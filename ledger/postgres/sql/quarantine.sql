-- Keep a refused message whole; one that comes again is counted, not kept again, and waits for what it lacks now. What it
-- was refused with before tells this code, unless it was recorded or rejected since.
-- $1 community, $2 digest, $3 code, $4 device, $5 stream, $6 sequence, $7 what, $8 message, $9 now
WITH before AS (
    UPDATE book.quarantine SET refused_as = $3
    WHERE community = $1 AND digest = $2 AND code <> $3 AND (resolved_at IS NULL OR resolution = 'released')
)
INSERT INTO book.quarantine
    (community, digest, code, device, stream, sequence, what, message, first_at, last_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
ON CONFLICT (community, digest, code) DO UPDATE
SET stream = excluded.stream, sequence = excluded.sequence, what = excluded.what, last_at = excluded.last_at,
    times = book.quarantine.times + 1, resolved_at = NULL, resolution = NULL, resolved_by = NULL, refused_as = NULL

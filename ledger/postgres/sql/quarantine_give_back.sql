-- What a person has decided on a message did not come about: it waits again, unless more has happened to it since.
-- $1 community, $2 digest, $3 when that was decided, $4 resolution, $5 by whose key
UPDATE book.quarantine SET resolved_at = NULL, resolution = NULL, resolved_by = NULL
WHERE community = $1 AND digest = $2 AND resolved_at = $3 AND resolution = $4 AND resolved_by = $5

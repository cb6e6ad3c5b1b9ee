-- A person has decided on a message that waits. $1 community, $2 digest, $3 now, $4 resolution, $5 by whose key
UPDATE book.quarantine SET resolved_at = $3, resolution = $4, resolved_by = $5, refused_as = NULL
WHERE community = $1 AND digest = $2 AND resolved_at IS NULL
RETURNING device, message

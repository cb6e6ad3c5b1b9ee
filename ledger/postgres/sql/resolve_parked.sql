-- A parked envelope has been recorded after all. $1 community, $2 digests, $3 now
UPDATE book.quarantine SET resolved_at = $3
WHERE community = $1 AND digest = ANY($2::bytea[]) AND code = 'sequence-gap' AND resolved_at IS NULL

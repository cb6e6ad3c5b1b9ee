-- Parked envelopes wait no longer, as they were recorded after all, or refused. $1 community, $2 digests, $3 those of them
-- that were recorded, $4 now
UPDATE book.quarantine SET resolved_at = $4, refused_as = CASE WHEN digest = ANY($3::bytea[]) THEN NULL ELSE refused_as END
WHERE community = $1 AND digest = ANY($2::bytea[]) AND code = 'sequence-gap' AND resolved_at IS NULL

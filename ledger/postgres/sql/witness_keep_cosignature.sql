-- Keep a cosignature, where this witness's of this size is not kept yet. $1 community, $2 size, $3 verifier key,
-- $4 line, $5 seconds, $6 now
INSERT INTO book.cosignatures (community, size, witness, line, seconds, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING

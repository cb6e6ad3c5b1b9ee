-- The newest cosignature of each of these witnesses, if any, and the log's size. $1 community, $2 verifier keys
SELECT k.witness, coalesce(c.size, 0) AS size, c.seconds,
    coalesce((SELECT size FROM book.communities WHERE community = $1), 0) AS log_size
FROM unnest($2::text[]) WITH ORDINALITY AS k (witness, number)
LEFT JOIN LATERAL (
    SELECT size, seconds FROM book.cosignatures
    WHERE community = $1 AND witness = k.witness ORDER BY size DESC LIMIT 1
) c ON true
ORDER BY k.number

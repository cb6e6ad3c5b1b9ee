-- The size of the newest checkpoint that a witness has cosigned, 0 before the first. $1 community, $2 verifier key
SELECT coalesce(max(size), 0) FROM book.cosignatures WHERE community = $1 AND witness = $2

-- The newest checkpoint that so many of these witnesses have cosigned. $1 community, $2 verifier keys, $3 quorum
SELECT w.size, w.checkpoint FROM (
    SELECT size FROM book.cosignatures WHERE community = $1 AND witness = ANY ($2::text[])
    GROUP BY size HAVING count(*) >= $3 ORDER BY size DESC LIMIT 1
) newest JOIN book.witnessed w ON w.community = $1 AND w.size = newest.size

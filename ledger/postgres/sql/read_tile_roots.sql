-- The roots of full tiles: what a partial tile of the level above is made of.
-- $1 community, $2 level, $3 first index, $4 index after the last
SELECT root FROM book.tiles
WHERE community = $1 AND level = $2 AND index >= $3 AND index < $4
ORDER BY index

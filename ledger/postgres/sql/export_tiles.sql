-- Some full tiles. $1 community, $2 levels, $3 indexes
SELECT t.level, t.index, t.hashes
FROM unnest($2::smallint[], $3::bigint[]) AS wanted (level, index)
JOIN book.tiles t ON t.community = $1 AND t.level = wanted.level AND t.index = wanted.index

-- The buildings after $2 by name, $3 at the most. $1 community
SELECT building, name, feeder FROM buildings
WHERE community = $1 AND building > $2 ORDER BY building LIMIT $3

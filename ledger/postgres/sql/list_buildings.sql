-- $1 community
SELECT building, name, feeder FROM buildings WHERE community = $1 ORDER BY building

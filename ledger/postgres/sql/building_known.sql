-- A row if there is such a building. $1 community, $2 building
SELECT building FROM buildings WHERE community = $1 AND building = $2

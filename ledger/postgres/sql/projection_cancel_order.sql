-- An order holds no longer than this. $1 community, $2 building, $3 order, $4 instant
UPDATE orders SET until = greatest(begin, least(until, $4)) WHERE community = $1 AND building = $2 AND "order" = $3

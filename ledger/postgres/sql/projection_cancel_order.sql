-- The orders of that name that hold beyond an instant hold no longer than to it. $1 community, $2 building, $3 order,
-- $4 instant
UPDATE orders SET until = $4
WHERE community = $1 AND building = $2 AND "order" = $3 AND until > $4

-- The order of that name that holds beyond an instant holds no longer than to it. $1 community, $2 building, $3 order,
-- $4 instant
UPDATE orders SET until = $4
WHERE community = $1 AND position = (
    SELECT min(position) FROM orders WHERE community = $1 AND building = $2 AND "order" = $3 AND until > $4
)

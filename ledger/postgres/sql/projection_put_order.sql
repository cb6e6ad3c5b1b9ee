-- An order, unless one of the same name still holds when it begins. $1 community, $2 building, $3 order, $4 side,
-- $5 energy, $6 limit, $7 begin, $8 until, $9 hours from, $10 hours until, $11 position
INSERT INTO orders (
    community, building, "order", side, energy_wh, limit_micro_per_kwh, begin, until, clock_from, clock_until, position
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
WHERE NOT EXISTS (
    SELECT FROM orders WHERE community = $1 AND building = $2 AND "order" = $3 AND until > $7
)

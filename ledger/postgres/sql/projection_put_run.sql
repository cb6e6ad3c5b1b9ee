-- A settlement run. $1 community, $2 number, $3 kind, $4 begin, $5 until, $6 tree size, $7 result, $8 position
INSERT INTO settlement_runs (community, number, kind, begin, until, tree_size, result, position)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- A run. $1 community, $2 number, $3 kind, $4 begin, $5 until, $6 tree size, $7 root, $8 rules, $9 result, $10 settled,
-- $11 revised
INSERT INTO settlement.runs (community, number, kind, begin, until, tree_size, root, rules, result, settled, revised)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

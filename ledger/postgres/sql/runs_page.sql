-- Runs with a higher number, in their order. $1 community, $2 number, $3 most rows
SELECT number, kind, begin, until, tree_size, root, rules, result, settled, revised FROM settlement.runs
WHERE community = $1 AND number > $2 ORDER BY number LIMIT $3

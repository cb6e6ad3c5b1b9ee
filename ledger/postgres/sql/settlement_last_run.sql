-- The newest run. $1 community
SELECT number, kind, begin, until, tree_size, root, rules, result, settled, revised FROM settlement.runs
WHERE community = $1 ORDER BY number DESC LIMIT 1

-- The journal of the intervals and months that start in [$2, $3), a sum for each kind, account and side. $1 community
SELECT kind, account, sum(energy_milliwh)::bigint, sum(amount_micro)::bigint, max(run) AS run
FROM settlement.journal
WHERE community = $1 AND start >= $2 AND start < $3
GROUP BY kind, account, amount_micro > 0
ORDER BY kind, account, amount_micro > 0

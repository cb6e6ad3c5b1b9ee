-- What a building got and gave for the intervals and months that start in [$3, $4), by kind and direction, reversals
-- taken off; counting runs up to $5 only. $1 community, $2 account
SELECT
    kind,
    (CASE WHEN reversal THEN -1 ELSE 1 END * energy_milliwh) > 0 AS took,
    sum(energy_milliwh)::bigint AS energy_milliwh,
    sum(amount_micro)::bigint AS amount_micro,
    max(run) AS run
FROM settlement.journal
WHERE community = $1 AND account = $2 AND start >= $3 AND start < $4 AND run <= $5
    AND first > $3::timestamptz - interval '6 hours' AND first < $4
GROUP BY 1, 2
ORDER BY 1, 2

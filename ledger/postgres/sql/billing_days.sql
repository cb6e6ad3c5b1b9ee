-- What an account got and gave in the intervals that start in [$3, $4), by local day, kind and direction, reversals taken
-- off. $1 community, $2 account, $5 time zone
SELECT
    (start AT TIME ZONE $5)::date AS day,
    kind,
    (CASE WHEN reversal THEN -1 ELSE 1 END * energy_milliwh) > 0 AS took,
    sum(energy_milliwh)::bigint AS energy_milliwh,
    sum(amount_micro)::bigint AS amount_micro
FROM settlement.postings
WHERE community = $1 AND account = $2 AND start >= $3 AND start < $4
    AND first > $3::timestamptz - interval '6 hours' AND first < $4
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3

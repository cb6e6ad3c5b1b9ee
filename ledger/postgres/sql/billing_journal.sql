-- The journal of a month, a sum for each kind, account and side: what belongs to [$2, $3) as far as runs up to $5 decided
-- it, and the corrections of what came before by the runs after $4 up to $5. $1 community
SELECT
    start < $2 AS corrects,
    min(start) AS begin,
    kind,
    account,
    sum(energy_milliwh)::bigint AS energy_milliwh,
    sum(amount_micro)::bigint AS amount_micro,
    max(run) AS run
FROM settlement.journal
WHERE community = $1 AND run <= $5
    AND (first > $2::timestamptz - interval '6 hours' AND first < $3 OR first < $2 AND run > $4)
    AND (start >= $2 AND start < $3 OR start < $2 AND run > $4)
GROUP BY start < $2, kind, account, amount_micro > 0
ORDER BY start < $2, kind, account, amount_micro > 0

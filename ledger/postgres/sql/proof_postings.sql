-- What a line sums up, by interval: postings of a kind and direction to an account. $1 community, $2 account, $3 kind,
-- $4 whether energy was taken, $5 begin, $6 until, $7 the last run that counts
SELECT start, sum(energy_milliwh)::bigint AS energy_milliwh, sum(amount_micro)::bigint AS amount_micro
FROM settlement.journal
WHERE community = $1 AND account = $2 AND kind = $3 AND start >= $5 AND start < $6 AND run <= $7
    AND first > $5::timestamptz - interval '6 hours' AND first < $6
    AND (((CASE WHEN reversal THEN -1 ELSE 1 END) * energy_milliwh) > 0) = $4
GROUP BY start ORDER BY start

-- What a building's account got and gave in each interval that starts in [$3, $4), by kind and direction, as the newest
-- run that settled it has it. $1 community, $2 account
SELECT
    p.start,
    p.kind,
    p.energy_milliwh > 0 AS took,
    sum(p.energy_milliwh)::bigint AS energy_milliwh,
    sum(p.amount_micro)::bigint AS amount_micro
FROM settlement.postings p
WHERE p.community = $1 AND p.account = $2 AND p.start >= $3 AND p.start < $4 AND NOT p.reversal
    AND p.first > $3::timestamptz - interval '6 hours' AND p.first < $4
GROUP BY p.start, p.kind, took, p.run
HAVING p.run = (SELECT max(run) FROM settlement.intervals i WHERE i.community = $1 AND i.start = p.start)
ORDER BY 1, 2, 3

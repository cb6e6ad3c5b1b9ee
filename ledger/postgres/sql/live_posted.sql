-- What run $2 brought the accounts $3 in the intervals that start at $4, by kind and direction. $1 community
SELECT
    account, start, kind, energy_milliwh > 0 AS took,
    sum(energy_milliwh)::bigint AS energy_milliwh, sum(amount_micro)::bigint AS amount_micro
FROM settlement.postings
WHERE community = $1 AND account = ANY($3::text[]) AND start = ANY($4::timestamptz[]) AND run = $2 AND NOT reversal
GROUP BY 1, 2, 3, 4

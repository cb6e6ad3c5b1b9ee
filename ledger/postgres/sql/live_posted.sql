-- What run $2 brought the accounts $3 in the intervals that start at $4, by kind and direction. $1 community. Of a row only
-- what lies between the first and the last of the intervals is looked at.
WITH asked AS (SELECT min(start) AS first, max(start) AS last FROM unnest($4::timestamptz[]) AS start)
SELECT
    p.account, one.start, one.kind, one.energy_milliwh > 0 AS took,
    sum(one.energy_milliwh)::bigint AS energy_milliwh, sum(one.amount_micro)::bigint AS amount_micro
FROM asked
JOIN settlement.posted p
    ON p.community = $1 AND p.run = $2 AND p.account = ANY($3::text[]) AND NOT p.reversal
    AND p.first > asked.first - interval '6 hours' AND p.first <= asked.last
CROSS JOIN LATERAL (
    SELECT width_bucket(asked.first - interval '1 microsecond', p.starts) + 1, width_bucket(asked.last, p.starts)
) AS place (first, last)
CROSS JOIN LATERAL unnest(
    p.starts[place.first:place.last], p.kinds[place.first:place.last],
    p.energies_milliwh[place.first:place.last], p.amounts_micro[place.first:place.last]
) AS one (start, kind, energy_milliwh, amount_micro)
WHERE one.start = ANY($4::timestamptz[])
GROUP BY 1, 2, 3, 4

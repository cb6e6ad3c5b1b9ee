-- The postings that count for an interval: those of the newest run that settled it. $1 community, $2 start. Of a row of
-- many intervals only that one is looked at.
SELECT one.kind, p.account, one.energy_milliwh, one.amount_micro
FROM settlement.posted p
CROSS JOIN LATERAL (
    SELECT width_bucket($2::timestamptz - interval '1 microsecond', p.starts) + 1, width_bucket($2, p.starts)
) AS place (first, last)
CROSS JOIN LATERAL unnest(
    p.numbers[place.first:place.last], p.kinds[place.first:place.last],
    p.energies_milliwh[place.first:place.last], p.amounts_micro[place.first:place.last]
) AS one (number, kind, energy_milliwh, amount_micro)
WHERE p.community = $1 AND NOT p.reversal AND p.first > $2 - interval '6 hours' AND p.first <= $2
    AND p.run = (SELECT max(run) FROM settlement.intervals i WHERE i.community = $1 AND i.start = $2)
ORDER BY one.number

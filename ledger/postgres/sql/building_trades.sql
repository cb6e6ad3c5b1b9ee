-- What a building sold and bought in the intervals that start before $3, behind trade $5 of the interval $4, $6 at the
-- most; by the newest run that settled each. An interval in which it traded has a posting of it to the building's
-- account, which finds it by the postings' key. $1 community, $2 building
SELECT
    t.start, t.number, t.seller, t.buyer, t.energy_milliwh, t.price_micro_per_kwh, t.amount_micro,
    t.wheeling_micro, t.loss_milliwh, t.loss_micro, t.operator_micro
FROM settlement.posted p
JOIN settlement.trades t ON t.community = p.community AND t.start = p.start AND t.run = p.run
WHERE p.community = $1 AND p.account = 'building/' || $2 AND p.start >= $4 AND p.start < $3
    AND NOT p.reversal AND 'trade' = ANY(p.kinds)
    AND p.run = (SELECT max(run) FROM settlement.intervals i WHERE i.community = $1 AND i.start = p.start)
    AND (t.seller = $2 OR t.buyer = $2)
    AND (t.start > $4 OR t.number > $5)
ORDER BY p.start, t.number LIMIT $6

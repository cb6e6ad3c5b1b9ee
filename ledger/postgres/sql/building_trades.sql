-- What a building sold and bought in the intervals that start before $3, behind trade $5 of the interval $4, $6 at the
-- most; by the newest run that settled each. An interval in which it traded has a posting of it to the building's
-- account, which finds it by the postings' key; so $6 such intervals and the one of $4 are enough. The key has rows in
-- order of their first intervals, so those that come next in time are in the rows that begin within six hours of the last
-- of so many. $1 community, $2 building
WITH enough AS MATERIALIZED (
    SELECT max(first) + interval '6 hours' AS until
    FROM (
        SELECT p.first
        FROM settlement.postings p
        WHERE p.community = $1 AND p.account = 'building/' || $2 AND p.start >= $4 AND p.start < $3
            AND p.first > $4::timestamptz - interval '6 hours' AND p.first < $3
            AND p.reversal IS NOT TRUE AND p.kind = 'trade'
        GROUP BY p.first, p.start, p.run
        HAVING p.run = (SELECT max(run) FROM settlement.intervals i WHERE i.community = $1 AND i.start = p.start)
        ORDER BY p.first LIMIT $6 + 1
    ) AS ahead
), traded AS MATERIALIZED (
    SELECT p.start, p.run
    FROM settlement.postings p
    WHERE p.community = $1 AND p.account = 'building/' || $2 AND p.start >= $4 AND p.start < $3
        AND p.first > $4::timestamptz - interval '6 hours' AND p.first < (SELECT least(until, $3) FROM enough)
        AND p.reversal IS NOT TRUE AND p.kind = 'trade'
    GROUP BY p.start, p.run
    HAVING p.run = (SELECT max(run) FROM settlement.intervals i WHERE i.community = $1 AND i.start = p.start)
    ORDER BY p.start LIMIT $6 + 1
)
SELECT
    t.start, t.number, t.seller, t.buyer, t.energy_milliwh, t.price_micro_per_kwh, t.amount_micro,
    t.wheeling_micro, t.loss_milliwh, t.loss_micro, t.operator_micro
FROM traded
JOIN settlement.trades t ON t.community = $1 AND t.start = traded.start AND t.run = traded.run
WHERE (t.seller = $2 OR t.buyer = $2) AND (t.start > $4 OR t.number > $5)
ORDER BY t.start, t.number LIMIT $6

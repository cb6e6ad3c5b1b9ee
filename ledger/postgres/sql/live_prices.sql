-- The lowest and the highest price at which run $2 let neighbours trade in the intervals that start at $3; none where
-- nobody traded. $1 community
SELECT start, min(price_micro_per_kwh) AS lowest, max(price_micro_per_kwh) AS highest
FROM settlement.trades
WHERE community = $1 AND start = ANY($3::timestamptz[]) AND run = $2
GROUP BY start

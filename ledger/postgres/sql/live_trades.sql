-- What run $2 let buildings $3 sell and buy in the intervals that start at $4, in order. $1 community
SELECT
    start, number, seller, buyer, energy_milliwh, price_micro_per_kwh, amount_micro, wheeling_micro, loss_milliwh,
    loss_micro, operator_micro
FROM settlement.trades
WHERE community = $1 AND start = ANY($4::timestamptz[]) AND run = $2
    AND (seller = ANY($3::text[]) OR buyer = ANY($3::text[]))
ORDER BY start, number

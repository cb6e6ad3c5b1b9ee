-- A proposal. $1 community, $2 proposer, $3 agreement, $4 partner, $5 side, $6 energy, $7 price, $8 begin, $9 until,
-- $10 position
INSERT INTO agreements (
    community, proposer, agreement, partner, side, energy_wh, price_micro_per_kwh, begin, until, position
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING

-- The intervals that start in [$2, $3) of which there are energies, or that were settled. $1 community
SELECT start FROM meter_intervals WHERE community = $1 AND start >= $2 AND start < $3
UNION
SELECT start FROM settlement.intervals WHERE community = $1 AND start >= $2 AND start < $3

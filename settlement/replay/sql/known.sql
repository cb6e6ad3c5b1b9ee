-- The intervals that start from ?1 to before ?2 of which there are energies, or that were settled.
SELECT start FROM meter_intervals WHERE start >= ?1 AND start < ?2
UNION
SELECT start FROM standing WHERE what = 'interval' AND start >= ?1 AND start < ?2

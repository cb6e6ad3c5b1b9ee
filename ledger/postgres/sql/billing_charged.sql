-- What all buildings together were charged for the months that begin in [$2, $3), by kind, by runs up to $4. $1 community
SELECT kind, sum(amount_micro)::bigint FROM settlement.charges
WHERE community = $1 AND account = 'grid' AND start >= $2 AND start < $3 AND run <= $4
GROUP BY kind

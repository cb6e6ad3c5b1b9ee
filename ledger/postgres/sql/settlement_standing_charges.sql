-- The charges that count for a month: those of the newest run that decided them. $1 community, $2 start
SELECT kind, account, energy_milliwh, amount_micro FROM settlement.charges c
WHERE community = $1 AND start = $2 AND NOT reversal
    AND run = (SELECT max(run) FROM settlement.charges d WHERE d.community = $1 AND d.start = $2)
ORDER BY number

-- The postings that count for an interval: those of the newest run that settled it. $1 community, $2 start
SELECT kind, account, energy_milliwh, amount_micro FROM settlement.postings p
WHERE community = $1 AND start = $2 AND NOT reversal
    AND run = (SELECT max(run) FROM settlement.intervals i WHERE i.community = $1 AND i.start = $2)
ORDER BY number

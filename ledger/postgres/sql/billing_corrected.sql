-- The spans of the runs up to $2 that corrected months which had been closed, in order of the runs. $1 community
SELECT begin, until FROM settlement.runs
WHERE community = $1 AND number <= $2 AND kind = 'revised' ORDER BY number

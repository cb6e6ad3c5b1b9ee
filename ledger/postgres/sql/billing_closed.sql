-- The number of the run that closed the month that ends at $2; none while it is open. $1 community
SELECT number FROM settlement.runs WHERE community = $1 AND kind = 'final' AND until = $2

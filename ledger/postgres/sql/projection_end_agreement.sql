-- Either side ends it. $1 community, $2 proposer, $3 agreement, $4 who ends it, $5 instant
UPDATE agreements SET until = greatest(begin, least(until, $5))
WHERE community = $1 AND proposer = $2 AND agreement = $3 AND $4 IN (proposer, partner)

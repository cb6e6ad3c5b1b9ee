-- The partner accepts. $1 community, $2 proposer, $3 agreement, $4 partner, $5 instant
UPDATE agreements SET accepted_since = $5
WHERE community = $1 AND proposer = $2 AND agreement = $3 AND partner = $4 AND accepted_since IS NULL

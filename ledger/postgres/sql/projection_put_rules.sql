-- Rules of the market. $1 community, $2 begin, $3 mechanism, $4 tariff, $5 position
INSERT INTO market_rules (community, begin, mechanism, tariff, position) VALUES ($1, $2, $3, $4, $5)

-- Everything but the readings of meters is little beside them and read whole when a service starts: one index for
-- the registry, the devices, the market, the buildings' orders and the settlement.

CREATE INDEX events_but_readings ON book.events (community, position) WHERE stream NOT LIKE 'meter/%';
DROP INDEX book.events_registry;

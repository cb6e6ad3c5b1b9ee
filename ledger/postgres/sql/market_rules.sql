-- The rules that were published, in order of the instant from which they hold, as their events. $1 community
SELECT e.body FROM market_rules r
JOIN book.events e ON e.community = r.community AND e.position = r.position
WHERE r.community = $1 ORDER BY r.begin

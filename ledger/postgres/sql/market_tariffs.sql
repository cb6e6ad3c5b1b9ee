-- The tariffs by name, each as its newest publication tells it. $1 community
SELECT e.body FROM tariffs t
JOIN book.events e ON e.community = t.community AND e.position = t.position
WHERE t.community = $1 ORDER BY t.tariff

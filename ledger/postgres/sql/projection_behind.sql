-- The communities whose books are longer than what has been applied.
SELECT c.community
FROM book.communities c
LEFT JOIN positions p ON p.community = c.community
WHERE c.size > coalesce(p.position, 0)
ORDER BY c.community

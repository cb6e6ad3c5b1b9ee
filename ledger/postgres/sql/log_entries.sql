-- What an entry bundle is made of, in order of the log. $1 community, $2 first position, $3 end
SELECT e.stream, e.sequence, p.entry_hash AS previous, e.body_hash
FROM book.events e
LEFT JOIN book.events p ON p.community = e.community AND p.stream = e.stream AND p.sequence = e.sequence - 1
WHERE e.community = $1 AND e.position >= $2 AND e.position < $3
ORDER BY e.position

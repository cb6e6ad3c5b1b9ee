-- What is no reading, of the positions from ?1 to before ?2.
SELECT position, stream, sequence, body FROM events WHERE position >= ?1 AND position < ?2 ORDER BY position

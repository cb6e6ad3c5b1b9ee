-- All envelopes in order of the log. $1 community, $2 position after the last
SELECT position, device, key, signature, runs FROM book.envelopes
WHERE community = $1 AND position < $2
ORDER BY position

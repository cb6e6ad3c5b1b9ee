-- The envelopes in flight, in the order in which they were cut.
SELECT number, digest, key, envelope FROM cut ORDER BY number

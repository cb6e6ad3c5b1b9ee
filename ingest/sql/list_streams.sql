-- The streams that have bodies waiting.
SELECT DISTINCT stream FROM body

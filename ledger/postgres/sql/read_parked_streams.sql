-- The streams that have envelopes waiting. $1 community
SELECT DISTINCT stream FROM book.quarantine
WHERE community = $1 AND code = 'sequence-gap' AND resolved_at IS NULL AND stream IS NOT NULL

-- Envelopes that wait for missing events of some streams, oldest sequences first.
-- $1 community, $2 streams
SELECT digest, device, message FROM book.quarantine
WHERE community = $1 AND stream = ANY($2::text[]) AND code = 'sequence-gap' AND resolved_at IS NULL
ORDER BY stream, sequence

-- The runs of an envelope.
-- :cut
SELECT stream, first, previous, last, hash, first_row, last_row FROM run WHERE cut = :cut

-- Where an event stands in the book: the one with salt $3 among the newest thousand of stream $2. $1 community
SELECT e.sequence, e.position, e.body, envelope.recorded_at
FROM (
    SELECT sequence, position, body, envelope FROM book.events
    WHERE community = $1 AND stream = $2
    ORDER BY sequence DESC LIMIT 1000
) AS e
JOIN book.envelopes AS envelope ON envelope.community = $1 AND envelope.position = e.envelope
WHERE position(convert_to('"salt":"' || $3::text || '"', 'UTF8') IN e.body) > 0
ORDER BY e.sequence DESC LIMIT 1

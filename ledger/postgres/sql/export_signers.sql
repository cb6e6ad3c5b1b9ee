-- The devices that signed events of a stream. $1 community, $2 position after the last, $3 stream
SELECT DISTINCT device FROM book.envelopes
WHERE community = $1 AND position IN (
    SELECT envelope FROM book.events WHERE community = $1 AND position < $2 AND stream = $3
)

-- When the event was recorded that has $3 newer ones in stream $2; none where there are not so many. $1 community
SELECT envelope.recorded_at
FROM book.stream_heads AS head
JOIN book.events AS e
    ON e.community = head.community AND e.stream = head.stream AND e.sequence = head.sequence - $3
JOIN book.envelopes AS envelope ON envelope.community = e.community AND envelope.position = e.envelope
WHERE head.community = $1 AND head.stream = $2

-- Whether a body was added to the registry since a one-time token was made. $1 token's prefix, $2 SHA-256 of the body
SELECT EXISTS (
    SELECT FROM access.enrolments AS token JOIN book.events AS event USING (community)
    WHERE token.prefix = $1 AND event.stream = 'registry' AND event.body_hash = $2 AND event.position >= token.size
)

-- What was answered, unless somebody else took the request over.
-- $1 prefix, $2 name, $3 begun at, $4 status, $5 media type, $6 body, none if it is too long, $7 where what it made is
UPDATE access.answers SET status = $4, media_type = $5, body = $6, location = $7
WHERE prefix = $1 AND name = $2 AND begun_at = $3 AND status IS NULL

-- What was answered. $1 prefix, $2 name, $3 status, $4 media type, $5 body
UPDATE access.answers SET status = $3, media_type = $4, body = $5 WHERE prefix = $1 AND name = $2

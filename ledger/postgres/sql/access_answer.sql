-- What became of a request. $1 prefix, $2 name
SELECT request, begun_at, status, media_type, body, location FROM access.answers WHERE prefix = $1 AND name = $2

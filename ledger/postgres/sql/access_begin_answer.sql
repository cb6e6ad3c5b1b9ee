-- Be the one to answer a request, unless one of this name was begun before. $1 prefix, $2 name, $3 request, $4 now
INSERT INTO access.answers (prefix, name, request, begun_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING name

-- Who asked for what, newest first, behind a place in that order: somebody of a community, or for what is under its path.
-- $1 community, $2 at, $3 id of that place, $4 the path that all of a community's begin with, $5 most rows
SELECT r.at, r.id, r.prefix, p.name, r.role, r.method, r.path, r.status, r.micros
FROM access.requests r LEFT JOIN access.people p ON p.id = r.prefix
WHERE (r.at, r.id) < ($2, $3) AND (
    starts_with(r.path, $4)
    OR p.community = $1
    OR EXISTS (SELECT FROM access.keys k WHERE k.prefix = r.prefix AND k.community = $1)
)
ORDER BY r.at DESC, r.id DESC LIMIT $5

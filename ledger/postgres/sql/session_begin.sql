-- A session of somebody whose password is still the one that was shown. Who changes it, or ends, waits for that, or is
-- waited for. $1 digest, $2 id of the person, $3 when the password was chosen, $4 now
INSERT INTO access.sessions (digest, person, role, building, begun_at, seen_at)
SELECT $1, id, role, building, $4, $4 FROM access.people
WHERE id = $2 AND password_at = $3 AND ended_at IS NULL
FOR SHARE
RETURNING digest

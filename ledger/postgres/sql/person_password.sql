-- Another password for somebody whose present one was chosen at $3. $1 id, $2 its hash, $4 now
UPDATE access.people SET password = $2, password_at = $4 WHERE id = $1 AND password_at = $3 AND ended_at IS NULL
RETURNING id

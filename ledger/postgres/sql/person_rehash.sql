-- The same password hashed anew. $1 id, $2 hash, $3 when the password was chosen
UPDATE access.people SET password = $2 WHERE id = $1 AND password_at = $3

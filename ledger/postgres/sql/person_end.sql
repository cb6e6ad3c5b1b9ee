-- Let somebody log in no more. $1 community, $2 name, $3 instant
UPDATE access.people SET ended_at = $3 WHERE community = $1 AND name = $2 AND ended_at IS NULL
RETURNING id

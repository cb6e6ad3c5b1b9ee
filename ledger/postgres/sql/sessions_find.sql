-- Sessions whose person has not ended, nor has another role or building since. $1 digests
SELECT s.digest, p.id, p.community, p.name, p.role, p.building, s.begun_at, s.seen_at
FROM access.sessions s JOIN access.people p ON p.id = s.person
WHERE s.digest = ANY($1::bytea[]) AND p.ended_at IS NULL AND s.role = p.role
    AND s.building IS NOT DISTINCT FROM p.building

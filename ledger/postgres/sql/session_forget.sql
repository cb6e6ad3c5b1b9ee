-- Forget sessions that count no more. $1 the oldest instant of use that counts, $2 the oldest beginning
DELETE FROM access.sessions WHERE seen_at < $1 OR begun_at < $2

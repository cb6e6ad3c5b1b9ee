-- The intervals that run $2 settled, $4 of them behind the first $3, in order of time, and whether a run before it had
-- settled them. $1 community
SELECT i.start, EXISTS (
    SELECT FROM settlement.intervals b WHERE b.community = $1 AND b.start = i.start AND b.run < $2
) AS revised
FROM settlement.intervals i WHERE i.community = $1 AND i.run = $2
ORDER BY i.start OFFSET $3 LIMIT $4

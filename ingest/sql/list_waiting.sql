-- The oldest bodies after a row that are in no envelope yet, of streams whose heads are known, with the links
-- that they are to continue.
-- :after, :most
SELECT body.row, body.stream, body.body, body.digest, tip.sequence, tip.hash
FROM body JOIN tip ON tip.stream = body.stream
WHERE body.row > :after AND body.row > tip.row
ORDER BY body.row
LIMIT :most

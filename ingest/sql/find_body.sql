-- The body at a place of a run, counted from 0.
-- :stream, :first_row, :last_row, :place
SELECT row FROM body
WHERE row BETWEEN :first_row AND :last_row AND stream = :stream
ORDER BY row LIMIT 1 OFFSET :place

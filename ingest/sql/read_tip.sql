-- The sequence of the link that the stream's chain goes on from.
-- :stream
SELECT sequence FROM tip WHERE stream = :stream

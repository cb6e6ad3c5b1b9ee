-- Whether an envelope in flight has a run of the stream.
-- :stream
SELECT EXISTS (SELECT 1 FROM run WHERE stream = :stream)

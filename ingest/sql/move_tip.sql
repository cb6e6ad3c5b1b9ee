-- The stream's chain goes on after this link.
-- :stream, :sequence, :hash, :row
INSERT INTO tip (stream, sequence, hash, row) VALUES (:stream, :sequence, :hash, :row)
ON CONFLICT (stream) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash, row = excluded.row

-- Keep a body until a receipt covers it.
-- :row, :stream, :body, :digest, :kept_at
INSERT INTO body (row, stream, body, digest, kept_at) VALUES (:row, :stream, :body, :digest, :kept_at)

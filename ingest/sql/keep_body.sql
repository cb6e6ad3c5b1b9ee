-- Keep a body until a receipt covers it.
-- :row, :stream, :body, :kept_at
INSERT INTO body (row, stream, body, kept_at) VALUES (:row, :stream, :body, :kept_at)

-- This body will never be in the book.
-- :row, :code, :what
INSERT INTO refused (row, stream, body, kept_at, code, what)
SELECT row, stream, body, kept_at, :code, :what FROM body WHERE row = :row

-- :cut, :stream, :first, :previous, :last, :hash, :first_row, :last_row
INSERT INTO run (cut, stream, first, previous, last, hash, first_row, last_row)
VALUES (:cut, :stream, :first, :previous, :last, :hash, :first_row, :last_row)

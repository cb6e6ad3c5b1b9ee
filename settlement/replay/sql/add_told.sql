-- A run or a document as the book tells it. ?1 sequence, ?2 whether it is a run, ?3 line, ?4 position of its envelope,
-- ?5 body
INSERT INTO told (sequence, is_run, line, position, body) VALUES (?1, ?2, ?3, ?4, ?5)

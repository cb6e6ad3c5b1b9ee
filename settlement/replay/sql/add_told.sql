-- A run as the book tells it. ?1 sequence, ?2 line, ?3 position of its envelope, ?4 body
INSERT INTO told (sequence, line, position, body) VALUES (?1, ?2, ?3, ?4)

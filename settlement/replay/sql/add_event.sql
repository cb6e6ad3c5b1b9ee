-- An event that is no reading. ?1 position, ?2 stream, ?3 sequence, ?4 body
INSERT INTO events (position, stream, sequence, body) VALUES (?1, ?2, ?3, ?4)

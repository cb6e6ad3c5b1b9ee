-- An invoice that counts. ?1 number, ?2 building, ?3 body
INSERT INTO documents (number, building, body) VALUES (?1, ?2, ?3)

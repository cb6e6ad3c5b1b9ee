-- An invoice that counts. ?1 number, ?2 building, ?3 first day of its month, ?4 body
INSERT INTO documents (number, building, month, body) VALUES (?1, ?2, ?3, ?4)

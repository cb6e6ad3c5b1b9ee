-- An invoice that counts. ?1 number
SELECT body FROM documents WHERE number = ?1

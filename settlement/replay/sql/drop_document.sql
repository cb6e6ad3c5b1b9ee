-- An invoice that was cancelled. ?1 number
DELETE FROM documents WHERE number = ?1

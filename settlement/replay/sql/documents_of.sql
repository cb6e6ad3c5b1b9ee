-- The invoices of a building that count. ?1 building
SELECT body FROM documents WHERE building = ?1 ORDER BY number

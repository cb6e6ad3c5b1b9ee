-- The next runs, or the next documents, behind a sequence. ?1 whether runs, ?2 sequence, ?3 how many
SELECT sequence, line, position, body FROM told WHERE is_run = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3

-- The next runs behind a sequence. ?1 sequence, ?2 how many
SELECT sequence, line, position, body FROM told WHERE sequence > ?1 ORDER BY sequence LIMIT ?2

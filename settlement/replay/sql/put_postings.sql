-- The postings that count from now on. ?1 start, ?2 JSON
INSERT OR REPLACE INTO standing (start, postings) VALUES (?1, ?2)

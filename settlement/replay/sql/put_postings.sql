-- The postings that count from now on. ?1 what they are for, ?2 start, ?3 JSON
INSERT OR REPLACE INTO standing (what, start, postings) VALUES (?1, ?2, ?3)

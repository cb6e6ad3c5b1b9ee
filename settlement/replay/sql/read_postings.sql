-- The postings that count for what starts at ?2. ?1 what they are for
SELECT postings FROM standing WHERE what = ?1 AND start = ?2

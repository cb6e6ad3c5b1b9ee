-- The postings that count for the interval that starts at ?1.
SELECT postings FROM standing WHERE start = ?1

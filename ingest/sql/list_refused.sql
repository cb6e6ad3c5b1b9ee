-- What was refused and why, in the order in which it was kept.
SELECT stream, body, code, what FROM refused ORDER BY row

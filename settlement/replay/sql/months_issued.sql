-- The first days of the months that an invoice which counts is about.
SELECT DISTINCT month FROM documents

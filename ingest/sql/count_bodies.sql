-- How many bodies wait.
SELECT count(*) FROM body

-- How many bodies were refused.
SELECT count(*) FROM refused

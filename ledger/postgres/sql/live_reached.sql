-- How many events a community's book has, and up to where the projections have applied them. $1 community
SELECT c.size, coalesce((SELECT p.position FROM positions p WHERE p.community = $1), 0) AS reached
FROM book.communities c WHERE c.community = $1

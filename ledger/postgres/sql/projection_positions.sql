-- How far the projections are.
SELECT community, position FROM positions ORDER BY community

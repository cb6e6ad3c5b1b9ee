-- Which version of the rules the projections were made with.
SELECT number FROM version

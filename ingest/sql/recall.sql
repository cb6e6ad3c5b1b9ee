-- All that is remembered.
SELECT name, state FROM memory

-- Where the settlement stands: the newest run, up to where it is settled and settled for good, and the size of the log
-- that the newest run counts.
SELECT
    max(number), max(until) FILTER (WHERE kind = 'provisional'), max(until) FILTER (WHERE kind = 'final'), max(tree_size)
FROM runs

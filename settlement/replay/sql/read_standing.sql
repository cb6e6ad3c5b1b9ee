-- Where the settlement stands: the newest run, up to where it is settled and settled for good, and the size of the log
-- that the newest run counts.
SELECT
    (SELECT max(number) FROM runs),
    (SELECT max(until) FROM runs WHERE kind = 'provisional'),
    (SELECT max(until) FROM runs WHERE kind = 'final'),
    (SELECT max(tree_size) FROM runs)

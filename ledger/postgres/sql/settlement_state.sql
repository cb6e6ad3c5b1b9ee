-- Where the settlement stands: the newest run, up to where it is settled and settled for good, and the size of the log
-- that the newest run counts. $1 community
SELECT
    max(number) AS number,
    max(until) FILTER (WHERE kind = 'provisional') AS settled_until,
    max(until) FILTER (WHERE kind = 'final') AS final_until,
    max(tree_size) AS tree_size
FROM settlement.runs WHERE community = $1

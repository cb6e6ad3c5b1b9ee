-- The spans of the runs that corrected months which had been closed.
SELECT begin, until FROM runs WHERE kind = 'revised' ORDER BY number

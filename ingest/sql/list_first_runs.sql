-- Per stream the first of the runs that are taken back. (The other columns are those of the row that has the
-- minimum: https://sqlite.org/lang_select.html#bareagg)
-- :number
SELECT stream, first, previous, first_row, min(cut) FROM run WHERE cut >= :number GROUP BY stream

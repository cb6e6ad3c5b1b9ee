-- The number of the newest run that the book has, however far it is projected; none before the first. $1 community
SELECT (convert_from(body, 'UTF8')::json ->> 'number')::bigint AS number FROM book.events
WHERE community = $1 AND stream = 'settlement' AND convert_from(body, 'UTF8')::json ->> 'type' = 'settlement-run/1'
ORDER BY sequence DESC LIMIT 1

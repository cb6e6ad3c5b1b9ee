-- Documents that were issued, in their order, whose events hold some text too: the one sort of text that is looked for,
-- a field of canonical JSON, is found in no other place of it. $1 community, $2 after which sequence, $3 most rows, $4 text
SELECT sequence, body FROM book.events
WHERE community = $1 AND stream = 'settlement' AND sequence > $2
    AND position('"type":"invoice-issued/1"'::bytea IN body) > 0 AND position($4::bytea IN body) > 0
ORDER BY sequence LIMIT $3

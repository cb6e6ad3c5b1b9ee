-- The documents that were issued, in their order. The text that is looked for may stand in other events too: whoever
-- reads them can tell. $1 community
SELECT body FROM book.events
WHERE community = $1 AND stream = 'settlement' AND position('"type":"invoice-issued/1"'::bytea IN body) > 0
ORDER BY sequence

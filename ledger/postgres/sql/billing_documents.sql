-- The documents that were issued, in their order. $1 community
SELECT body FROM book.events
WHERE community = $1 AND stream = 'settlement' ORDER BY sequence

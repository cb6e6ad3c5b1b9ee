-- Whether the registry's stream holds a body. $1 community, $2 SHA-256 of the body
SELECT EXISTS (SELECT FROM book.events WHERE community = $1 AND stream = 'registry' AND body_hash = $2)

-- The cosignatures of these witnesses under the checkpoint of a size, in the order of the keys.
-- $1 community, $2 size, $3 verifier keys
SELECT line FROM book.cosignatures
WHERE community = $1 AND size = $2 AND witness = ANY ($3::text[])
ORDER BY array_position($3::text[], witness)

-- Set the heads of many streams. $1 community, $2 streams, $3 sequences, $4 hashes
INSERT INTO book.stream_heads (community, stream, sequence, hash)
SELECT $1, unnest($2::text[]), unnest($3::bigint[]), unnest($4::bytea[])
ON CONFLICT (community, stream) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash

-- Wake the projectors of a community: one coalesced signal a batch, outside the appending transaction,
-- because NOTIFY takes a database-wide lock at commit. $1 community
SELECT pg_notify('book', $1)

-- Let go of the oldest that strangers have left in quarantine, where it is too old or too much; how many went.
-- $1 community, $2 now, $3 the oldest that stays, $4 messages and $5 bytes of each sender, $6 and $7 of all together,
-- $8 how many go at most
SELECT book.bound_quarantine($1, $2, $3, $4, $5, $6, $7, $8)

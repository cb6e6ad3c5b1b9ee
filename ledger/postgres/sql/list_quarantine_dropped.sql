-- How much of what strangers left in quarantine has gone, by code. $1 community
SELECT code, messages, bytes, last_at FROM book.quarantine_dropped WHERE community = $1 ORDER BY code

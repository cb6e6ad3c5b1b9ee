-- Make the month of the access log that an instant lies in, unless it is there. $1 instant
SELECT access.make_month($1)

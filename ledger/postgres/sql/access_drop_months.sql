-- Drop the months of the access log that ended before others began: so many are kept beside the one of an instant.
-- $1 instant, $2 months; how many were dropped
SELECT access.drop_months(date_trunc('month', $1::timestamptz) - make_interval(months => $2))

-- How many connections the server takes from those who are not its administrators.
SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer

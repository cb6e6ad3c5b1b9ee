-- Whose rows this connection may read from now on. $1 community, $2 building
SELECT set_config('ledger.community', $1, false), set_config('ledger.building', $2, false)

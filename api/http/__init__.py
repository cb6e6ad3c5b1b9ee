"""The ledger over HTTP: the one door to litestar and its server."""

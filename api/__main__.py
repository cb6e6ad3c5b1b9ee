"""`python -m api` is `energy-ledger`."""

from api.cli import main

main()

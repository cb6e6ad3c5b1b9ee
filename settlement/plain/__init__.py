"""Settling plain files: energies, orders and rules in, trades and journal out, no book and no server."""

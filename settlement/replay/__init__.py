"""A book's settlement, recomputed from nothing but its file: a step behind those of `ledger.verify`.

A run follows from the first `tree_size` events of the log and from the runs before it. So the file is read
twice: first for the runs that it tells of (a run stands behind what it counts), then event by event through
the projector and the settling that the ledger itself uses, on a store in a file of SQLite's (`projections`,
`runs`) that is gone afterwards. At each size that a run counts, what is due there is settled and held against
what the book says.
"""

-- Whoever follows the settlement asks what a run settled; intervals were found by their start alone.

CREATE INDEX intervals_of_run ON settlement.intervals (community, run, start);

-- What a connection of the API may read on behalf of one building: that building's rows, whatever it asks for. It works
-- as a role of its own, and says by two settings whose it is. All other roles see everything, as before.

DO $$
BEGIN
    CREATE ROLE energy_ledger_building NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- COPY into a table with policies is for those alone who are above them. Another database of the server may be at it.
DO $$
BEGIN
    IF NOT (SELECT rolbypassrls FROM pg_roles WHERE rolname = 'energy_ledger_app') THEN
        ALTER ROLE energy_ledger_app BYPASSRLS;
    END IF;
EXCEPTION WHEN internal_error THEN
    NULL;
END
$$;

-- Whether a row is of the building that this connection reads for. Nothing is, before it has said so.
CREATE FUNCTION book.is_own(community text, building text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT community = current_setting('ledger.community', true) AND building = current_setting('ledger.building', true)
$$;

-- The streams of that building: its own and those of its meters. The projections are looked up by their name each time,
-- as a rebuilt one takes the place of the old.
CREATE FUNCTION book.own_streams() RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(SELECT 'meter/' || m.meter FROM projection.meters m WHERE book.is_own(m.community, m.building))
        || ('building/' || current_setting('ledger.building', true));
END
$$;

ALTER TABLE book.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE book.stream_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE settlement.posted ENABLE ROW LEVEL SECURITY;
ALTER TABLE settlement.charges ENABLE ROW LEVEL SECURITY;
ALTER TABLE settlement.trades ENABLE ROW LEVEL SECURITY;
ALTER TABLE settlement.shares ENABLE ROW LEVEL SECURITY;

CREATE POLICY everything ON book.events FOR SELECT TO energy_ledger_projector USING (true);
CREATE POLICY everything ON book.stream_heads FOR SELECT TO energy_ledger_projector USING (true);

-- Its invoices and credit notes are in the stream of the settlement. Bodies are canonical, so a field is written in one
-- way, and nowhere else: within a text its quotes would be escaped.
CREATE POLICY own ON book.events FOR SELECT TO energy_ledger_building USING (
    community = current_setting('ledger.community', true)
    AND (
        stream = ANY ((SELECT book.own_streams())::text[])
        OR stream = 'settlement' AND position(
            convert_to('"building":"' || current_setting('ledger.building', true) || '"', 'UTF8') IN body
        ) > 0
    )
);
CREATE POLICY own ON book.stream_heads FOR SELECT TO energy_ledger_building USING (
    community = current_setting('ledger.community', true) AND stream = ANY ((SELECT book.own_streams())::text[])
);
CREATE POLICY own ON settlement.posted FOR SELECT TO energy_ledger_building USING (
    community = current_setting('ledger.community', true)
    AND account = 'building/' || current_setting('ledger.building', true)
);
CREATE POLICY own ON settlement.charges FOR SELECT TO energy_ledger_building USING (
    community = current_setting('ledger.community', true)
    AND account = 'building/' || current_setting('ledger.building', true)
);
CREATE POLICY own ON settlement.trades FOR SELECT TO energy_ledger_building USING (
    book.is_own(community, seller) OR book.is_own(community, buyer)
);
CREATE POLICY own ON settlement.shares FOR SELECT TO energy_ledger_building USING (book.is_own(community, building));

GRANT USAGE ON SCHEMA book, settlement TO energy_ledger_building;
GRANT SELECT ON book.events, book.stream_heads TO energy_ledger_building;
GRANT SELECT ON settlement.posted, settlement.charges, settlement.trades, settlement.shares, settlement.postings,
    settlement.journal TO energy_ledger_building;
GRANT SELECT ON settlement.runs, settlement.intervals TO energy_ledger_building;   -- these tell of no building
ALTER DEFAULT PRIVILEGES FOR ROLE energy_ledger_projector GRANT USAGE ON SCHEMAS TO energy_ledger_building;

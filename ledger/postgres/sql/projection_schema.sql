-- The tables of one version of the projections, in the schema that the search path names.

CREATE TABLE positions (
    community text   PRIMARY KEY,
    position  bigint NOT NULL                   -- of the next event to apply
);

CREATE TABLE communities (
    community        text    PRIMARY KEY,
    name             text    NOT NULL,
    zone             text    NOT NULL,
    interval_minutes integer NOT NULL,
    currency         text    NOT NULL,
    log_key          text    NOT NULL
);

CREATE TABLE feeders (
    community text NOT NULL,
    feeder    text NOT NULL,
    name      text NOT NULL,
    PRIMARY KEY (community, feeder)
);

CREATE TABLE buildings (
    community text NOT NULL,
    building  text NOT NULL,
    feeder    text NOT NULL,
    name      text NOT NULL,
    PRIMARY KEY (community, building)
);

CREATE TABLE meters (
    community text        NOT NULL,
    meter     text        NOT NULL,
    role      text        NOT NULL,
    building  text,                             -- none for a main meter
    model     text        NOT NULL,
    rated_w   bigint      NOT NULL,
    since     timestamptz NOT NULL,
    until     timestamptz,
    PRIMARY KEY (community, meter)
);
CREATE INDEX meters_of_building ON meters (community, building);

CREATE TABLE devices (
    community  text   NOT NULL,
    device     text   NOT NULL,
    role       text   NOT NULL,
    public_key text,                            -- none while revoked
    position   bigint NOT NULL,                 -- of the event that set it
    PRIMARY KEY (community, device)
);

CREATE TABLE meter_readers (
    community text        NOT NULL,
    meter     text        NOT NULL,
    since     timestamptz NOT NULL,
    device    text        NOT NULL,
    PRIMARY KEY (community, meter, since)
);

CREATE TABLE blocks (
    community text        NOT NULL,
    number    bigint      NOT NULL,
    previous  text        NOT NULL,
    root      text        NOT NULL,
    size      bigint      NOT NULL,
    sealed_at timestamptz NOT NULL,
    hash      text        NOT NULL,
    PRIMARY KEY (community, number)
);

CREATE TABLE alarms (
    community text        NOT NULL,
    position  bigint      NOT NULL,
    device    text        NOT NULL,
    alarm     text        NOT NULL,
    meter     text,
    detail    text        NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (community, position)
);

CREATE TABLE tariffs (
    community text   NOT NULL,
    tariff    text   NOT NULL,
    position  bigint NOT NULL,                  -- of the newest publication
    PRIMARY KEY (community, tariff)
);

CREATE TABLE market_rules (
    community text        NOT NULL,
    begin     timestamptz NOT NULL,             -- they hold from here to the next
    mechanism text        NOT NULL,
    tariff    text        NOT NULL,
    position  bigint      NOT NULL,
    PRIMARY KEY (community, begin)
);

CREATE TABLE orders (
    community           text        NOT NULL,
    building            text        NOT NULL,
    "order"             text        NOT NULL,
    side                text        NOT NULL,   -- sell or buy
    energy_wh           bigint,                 -- an interval; none: all that is metered
    limit_micro_per_kwh bigint      NOT NULL,
    begin               timestamptz NOT NULL,
    until               timestamptz NOT NULL,   -- or since when it is cancelled
    clock_from          text,                   -- local hours within which it holds
    clock_until         text,
    position            bigint      NOT NULL,
    PRIMARY KEY (community, position)           -- a name may be used again when the order has ended
);
CREATE INDEX orders_of_building ON orders (community, building, "order");

CREATE TABLE agreements (
    community           text        NOT NULL,
    proposer            text        NOT NULL,
    agreement           text        NOT NULL,
    partner             text        NOT NULL,
    side                text        NOT NULL,   -- of the proposer
    energy_wh           bigint,
    price_micro_per_kwh bigint      NOT NULL,
    begin               timestamptz NOT NULL,
    until               timestamptz NOT NULL,   -- or since when it is ended
    accepted_since      timestamptz,            -- none while it is a proposal
    position            bigint      NOT NULL,
    PRIMARY KEY (community, proposer, agreement)
);

CREATE TABLE settlement_runs (
    community text        NOT NULL,
    number    bigint      NOT NULL,
    kind      text        NOT NULL,             -- provisional, final or revised
    begin     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    tree_size bigint      NOT NULL,
    result    text        NOT NULL,
    position  bigint      NOT NULL,
    PRIMARY KEY (community, number)
);

CREATE TABLE invoices (
    community text   NOT NULL,
    number    text   NOT NULL,
    building  text   NOT NULL,
    code      text   NOT NULL,
    run       bigint NOT NULL,
    position  bigint NOT NULL,
    PRIMARY KEY (community, number)
);
CREATE INDEX invoices_of_building ON invoices (community, building);

-- What the fold of a meter's readings remembers (ledger.energy.MeterState as JSON).
CREATE TABLE meter_states (
    community text  NOT NULL,
    meter     text  NOT NULL,
    state     bytea NOT NULL,
    PRIMARY KEY (community, meter)
);

CREATE TABLE meter_intervals (
    community          text        NOT NULL,
    meter              text        NOT NULL,
    start              timestamptz NOT NULL,    -- [start, start + interval)
    import_wh          bigint      NOT NULL CHECK (import_wh >= 0),
    export_wh          bigint      NOT NULL CHECK (export_wh >= 0),
    import_register_wh bigint      NOT NULL,    -- at the end of the interval
    export_register_wh bigint      NOT NULL,
    end_quality        text        NOT NULL,    -- of the registers: measured, estimated, or spread over a gap
    quality            text        NOT NULL,    -- measured or estimated
    epoch              integer     NOT NULL,
    position           bigint      NOT NULL,    -- of the reading that told the registers at the (gap's) end
    decided_by         bigint      NOT NULL,    -- position of the event since which it stands as it is
    PRIMARY KEY (community, meter, start)
);

-- Settlement asks which intervals were decided anew; they were written in that order, more or less.
CREATE INDEX meter_intervals_decided ON meter_intervals USING brin (decided_by);

-- Readings that ended no interval: the first of an epoch, held ones, ones between boundaries.
CREATE TABLE readings_aside (
    community text        NOT NULL,
    meter     text        NOT NULL,
    position  bigint      NOT NULL,
    at        timestamptz NOT NULL,
    import_wh bigint      NOT NULL,
    export_wh bigint      NOT NULL,
    verdict   text        NOT NULL,             -- opened, held or between
    reason    text        NOT NULL,
    epoch     integer     NOT NULL,
    quality   text        NOT NULL,             -- measured or estimated
    PRIMARY KEY (community, meter, position, verdict)
);
CREATE INDEX readings_opened ON readings_aside (community, meter, at) WHERE verdict = 'opened';

-- A building is the sum of its connection meters; an interval that one of them lacks is incomplete.
CREATE VIEW building_intervals WITH (security_invoker = true) AS
SELECT
    m.community,
    m.building,
    i.start,
    sum(i.import_wh)::bigint AS import_wh,
    sum(i.export_wh)::bigint AS export_wh,
    CASE
        WHEN count(*) < (
            SELECT count(*) FROM meters e
            WHERE e.community = m.community AND e.building = m.building AND e.role = 'connection'
                AND e.since <= i.start AND (e.until IS NULL OR e.until > i.start)
        ) THEN 'incomplete'
        WHEN bool_and(i.quality = 'measured') THEN 'measured'
        ELSE 'estimated'
    END AS quality
FROM meters m
JOIN meter_intervals i ON i.community = m.community AND i.meter = m.meter
WHERE m.role = 'connection' AND i.start >= m.since AND (m.until IS NULL OR i.start < m.until)
GROUP BY m.community, m.building, i.start;

CREATE TABLE version (
    number integer PRIMARY KEY
);

-- A connection that reads for one building sees its rows alone (migrations/0015_row_security.sql).
ALTER TABLE buildings ENABLE ROW LEVEL SECURITY;
ALTER TABLE meters ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE agreements ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE meter_intervals ENABLE ROW LEVEL SECURITY;
ALTER TABLE readings_aside ENABLE ROW LEVEL SECURITY;

CREATE POLICY own ON buildings FOR SELECT TO energy_ledger_building USING (book.is_own(community, building));
CREATE POLICY own ON meters FOR SELECT TO energy_ledger_building USING (book.is_own(community, building));
CREATE POLICY own ON orders FOR SELECT TO energy_ledger_building USING (book.is_own(community, building));
CREATE POLICY own ON agreements FOR SELECT TO energy_ledger_building USING (
    book.is_own(community, proposer) OR book.is_own(community, partner)
);
CREATE POLICY own ON invoices FOR SELECT TO energy_ledger_building USING (book.is_own(community, building));
CREATE POLICY own ON meter_intervals FOR SELECT TO energy_ledger_building USING (
    community = current_setting('ledger.community', true)
    AND meter = ANY (ARRAY(SELECT m.meter FROM meters m WHERE book.is_own(m.community, m.building)))
);
CREATE POLICY own ON readings_aside FOR SELECT TO energy_ledger_building USING (
    community = current_setting('ledger.community', true)
    AND meter = ANY (ARRAY(SELECT m.meter FROM meters m WHERE book.is_own(m.community, m.building)))
);

GRANT SELECT ON buildings, meters, orders, agreements, invoices, meter_intervals, readings_aside, building_intervals
    TO energy_ledger_building;
GRANT SELECT ON positions TO energy_ledger_building;   -- it tells of no building

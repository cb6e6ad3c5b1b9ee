-- Webhooks: who is told over HTTP of what comes into the book, and the outbox of what they have not taken yet.

CREATE SCHEMA webhooks;

CREATE TABLE webhooks.webhooks (
    community     text        NOT NULL,
    webhook       text        NOT NULL,
    role          text        NOT NULL CHECK (role IN ('billing', 'operator')),   -- whose it is, and what it may be told
    made_by       text        NOT NULL,          -- prefix of the key
    label         text        NOT NULL,
    origin        text        NOT NULL,          -- scheme, host and port of its address: all that may be shown
    topics        text[]      NOT NULL,
    sealed        bytea       NOT NULL,          -- address and secrets, under a key that is not in the store
    created_at    timestamptz NOT NULL,
    rotated_at    timestamptz,
    sequence      bigint      NOT NULL,          -- of the newest event of the stream `settlement` that it was told
    position      bigint      NOT NULL,          -- of the book, before which it was told every alarm
    failing_since timestamptz,                   -- of the first failure after which nothing was delivered
    disabled_at   timestamptz,
    disabled_for  text        CHECK ((disabled_at IS NULL) = (disabled_for IS NULL)),
    PRIMARY KEY (community, webhook)
);

CREATE TABLE webhooks.deliveries (
    community  text        NOT NULL,
    webhook    text        NOT NULL,
    delivery   text        NOT NULL,             -- the `webhook-id`, the same for every try
    source     text        NOT NULL,             -- what it tells of: each is told once
    topic      text        NOT NULL,
    position   bigint,                           -- of the event in the book, if it is one
    body       bytea       NOT NULL,             -- exactly the bytes that are signed and sent
    created_at timestamptz NOT NULL,
    state      text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    tries      integer     NOT NULL DEFAULT 0,
    begun_at   timestamptz,                      -- the first try
    last_at    timestamptz,                      -- the newest try
    due_at     timestamptz NOT NULL,             -- the next try; during one, when whoever makes it is given up
    status     integer,                          -- of the newest answer; none where nobody answered
    code       text,                             -- why the newest try failed
    PRIMARY KEY (community, webhook, delivery),
    UNIQUE (community, webhook, source),
    FOREIGN KEY (community, webhook) REFERENCES webhooks.webhooks ON DELETE CASCADE
);
CREATE INDEX deliveries_due ON webhooks.deliveries (community, webhook, due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_newest ON webhooks.deliveries (community, webhook, created_at, delivery);

-- What operators are told of quarantine; there is little of it.
CREATE INDEX quarantine_forks ON book.quarantine (community, first_at) WHERE code = 'fork';

GRANT USAGE ON SCHEMA webhooks TO energy_ledger_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks.webhooks, webhooks.deliveries TO energy_ledger_app;

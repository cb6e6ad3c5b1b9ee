-- What of the settings' market was brought into the book last: so a start that finds something else there knows whether
-- the settings were changed since, or whether it was published otherwise.

CREATE TABLE settlement.provisioned (
    community text        NOT NULL,
    part      text        NOT NULL,              -- tariff, or rules
    digest    text        NOT NULL,              -- SHA-256 of what the settings asked for, whenever it begins
    at        timestamptz NOT NULL,
    PRIMARY KEY (community, part)
);

GRANT SELECT, INSERT, UPDATE ON settlement.provisioned TO energy_ledger_app;

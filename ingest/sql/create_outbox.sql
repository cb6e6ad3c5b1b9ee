-- The outbox of one gateway. What stands here and in no receipt is nowhere else.

-- What waits for a receipt, in the order in which it was kept. A body is exactly the bytes that will be
-- signed and hashed.
CREATE TABLE body (
    row INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: tips and links speak of rows that are gone
    stream TEXT NOT NULL,
    body BLOB NOT NULL,
    digest BLOB NOT NULL, -- SHA-256 of the body when it was kept: disks forget
    kept_at INTEGER NOT NULL -- seconds since 1970
) STRICT;

-- Where each stream's chain goes on: the link that the next envelope continues, and the newest body that is
-- under it. A stream without a tip waits until the ledger has told its head.
CREATE TABLE tip (
    stream TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    row INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Envelopes in flight, kept to be sent again byte for byte until a receipt answers them.
CREATE TABLE cut (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL, -- SHA-256 of the envelope
    key TEXT NOT NULL, -- id of the key that signed it
    envelope BLOB NOT NULL
) STRICT;

-- Their runs: which link a run continues, which link it ends in, and which bodies it is made of.
CREATE TABLE run (
    cut INTEGER NOT NULL REFERENCES cut ON DELETE CASCADE,
    stream TEXT NOT NULL,
    first INTEGER NOT NULL,
    previous BLOB NOT NULL,
    last INTEGER NOT NULL,
    hash BLOB NOT NULL,
    first_row INTEGER NOT NULL,
    last_row INTEGER NOT NULL,
    PRIMARY KEY (cut, stream)
) STRICT, WITHOUT ROWID;

-- Links that envelopes ended in which were taken back. Should the ledger ever tell one of them as its head,
-- then it holds the bodies under it after all.
CREATE TABLE withdrawn (
    stream TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (stream, sequence, hash)
) STRICT, WITHOUT ROWID;

-- Bodies that the ledger refused for good, or that the disk has changed, kept for a person to look at.
CREATE TABLE refused (
    row INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    body BLOB NOT NULL,
    kept_at INTEGER NOT NULL,
    code TEXT NOT NULL,
    what TEXT NOT NULL
) STRICT;

-- What the gateway must still know after a restart: last plausible registers, alarms that stand.
CREATE TABLE memory (
    name TEXT PRIMARY KEY,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

"""The three configuration files of an embedded Postgres, as pure text.

They are written outside the cluster at each start, so that they always say what this version of the
ledger means; what an operator sets with ALTER SYSTEM still comes on top.
"""

from collections.abc import Iterable, Mapping

FIXED: Mapping[str, str | int] = {
    # A receipt is signed after the commit: the commit has to be on the disk by then.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "on",
    # Rows are only ever appended: few, long checkpoints write each page once and fewer full images.
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "min_wal_size": "256MB",
    "wal_buffers": "16MB",
    "jit": "off",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "ISO, YMD",
    # A statement may hold a reading or a password: the log names the error, never the statement.
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_checkpoints": "off",
}


def config_text(chosen: Mapping[str, str | int]) -> str:
    """postgresql.conf: what never changes, then `chosen`."""
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in {**FIXED, **chosen}.items())


def access_text(tcp: bool) -> str:
    """pg_hba.conf: by the socket the kernel says who it is; by loopback TCP a password does."""
    lines = ["local all all peer map=people", "local replication all peer map=people"]
    if tcp:
        lines.append("host all all 127.0.0.1/32 scram-sha-256")
    return "".join(f"{line}\n" for line in lines)


def names_text(people: Iterable[str]) -> str:
    """pg_ident.conf: each of `people`, users of this machine, may be any role."""
    return "".join(f'people "{name}" all\n' for name in sorted(people))


def _quoted(value: str | int) -> str:
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"

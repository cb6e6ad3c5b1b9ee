"""The doctor's check of how the API is served: whether Postgres takes the connections of all its workers."""

from collections.abc import Iterator

from api.finding import Finding
from api.http.settings import ApiSettings
from ledger.words import counted

OTHERS = 20
"""Connections for everything else: writer, projector, settler, commands."""


def connection_findings(api: ApiSettings, most: int) -> Iterator[Finding]:
    """What there is to say where Postgres takes `most` connections. A worker has one pool for everything and
    one as large for what it reads on behalf of a building."""
    wanted = api.workers * 2 * api.connections
    said = f"{counted(api.workers, 'worker')} may ask for {wanted} of Postgres' {most} connections"
    if wanted + OTHERS > most:
        hint = "lower `workers` or `connections` under [api], or raise Postgres' max_connections"
        yield Finding("api", "odd", said, hint)
    else:
        yield Finding("api", "well", said)

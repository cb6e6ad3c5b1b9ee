"""The API's part of the settings file.

[api]
host = "127.0.0.1"
port = 8480
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ledger.event import Text
from ledger.outgoing.addresses import networks
from ledger.settings import SettingsInvalid, convert

TABLE = "api"
WORKERS_MAX = 64

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it listens and how much it takes.

    With `public_log` anybody may read checkpoint, tiles, proofs and blocks, which tell no reading: entries
    are hashes. They tell how many events each stream has: how many orders a building has placed, say.
    `requests_a_minute` are for each key, fewer for each address that shows none or a wrong one;
    `body_bytes_max` for each request. So many events a building may have written in a day (`events_a_day`) of
    its orders and agreements, with whichever keys; to end what it has begun it may write as many again. So
    many `listeners` follow live streams at a time, fewer of each key.
    The access log is kept for `access_log_months` months beside the one that is under way.
    With several `workers` as many processes serve: requests a minute are counted by all of them together,
    `connections` and `listeners` are each one's.
    `trusted_proxies` are addresses whose `X-Forwarded-For` is believed.
    `outgoing_allow` are networks that webhooks may reach although they are not public, without TLS as well.
    """

    host: Text = "127.0.0.1"
    port: Port = 8480
    workers: Annotated[int, msgspec.Meta(ge=1, le=WORKERS_MAX)] = 1
    connections: Annotated[int, msgspec.Meta(ge=1, le=200)] = 8  # to Postgres, and as many for buildings
    public_log: bool = False
    requests_a_minute: Annotated[int, msgspec.Meta(ge=1)] = 6_000
    requests_a_minute_without_key: Annotated[int, msgspec.Meta(ge=1)] = 600
    events_a_day: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2_000
    listeners: Annotated[int, msgspec.Meta(ge=1, le=20_000)] = 2_000
    listeners_a_key: Annotated[int, msgspec.Meta(ge=1, le=20_000)] = 20
    trusted_proxies: tuple[Text, ...] = ()
    body_bytes_max: Annotated[int, msgspec.Meta(ge=1_024, le=64 * 1024 * 1024)] = 2 * 1024 * 1024
    outgoing_allow: tuple[Text, ...] = ()
    access_log_months: Annotated[int, msgspec.Meta(ge=1, le=1_200)] = 12


class _File(msgspec.Struct, frozen=True):
    api: ApiSettings = ApiSettings()


def api_from(tables: Mapping[str, Any], path: Path) -> ApiSettings:
    """The API of a settings file. Raises `SettingsInvalid`."""
    mine = {TABLE: tables[TABLE]} if TABLE in tables else {}
    found = convert(mine, _File, path).api
    try:
        networks(found.outgoing_allow)
    except ValueError as error:
        raise SettingsInvalid(
            str(error), where=f"{path}: {TABLE}.outgoing_allow", hint='a network is written as "127.0.0.0/8"'
        ) from None
    return found

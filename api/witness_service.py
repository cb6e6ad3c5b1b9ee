"""The service that has the log witnessed, put together: the witnesses of the settings, and the way out."""

from api.http.settings import ApiSettings
from ledger.clock import SystemClock
from ledger.outgoing.addresses import networks
from ledger.outgoing.door import Outgoing
from ledger.postgres.witnesses import leading
from ledger.settings import Settings
from ledger.witnessing import Witnessing


def witnessing(settings: Settings, api: ApiSettings | None) -> Witnessing:
    """The service; `settings` name a store that can be reached. Witnesses are reached as webhooks are: those
    that are not public only in the networks of `outgoing_allow`."""
    outgoing = Outgoing(networks(api.outgoing_allow if api else ()))
    return Witnessing(
        lambda: leading(settings.postgres, settings.community.id),
        settings.log.witnesses,
        outgoing,
        SystemClock(),
    )

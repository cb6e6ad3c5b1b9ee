"""Who may connect to NATS, and what each of them may say and hear there: no more than its work takes.

A device says its own envelopes and asks for its own heads; the acknowledgement of JetStream and the answer
come to an inbox of its own, as receipts do to a subject of its own. Nobody but the writer may use JetStream's
API, and that for its own stream and consumer alone; nobody may delete or purge.

| user       | says                                                | hears                               |
|------------|-----------------------------------------------------|-------------------------------------|
| a device   | its envelopes, its request for heads                | its receipts                        |
| `writer`   | receipts, answers, what its consumer takes          | requests for heads and for a block  |
| `api`      | envelopes and requests for heads of all devices     | receipts of all devices             |
| `settler`  | as the device `service`, whose events it signs      | likewise                            |
| `operator` | as the device `operator`; the request for a block   | likewise                            |

Everybody has an inbox besides. A projector knows the store alone, and is no user.
"""

import json
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

from ledger.bus import subjects
from ledger.bus.nkey import user_nkey
from ledger.keys import PublicKey, SigningKey
from ledger.registry import OPERATOR, SERVICE

Service = Literal["writer", "api", "settler", "operator"]
SERVICES: tuple[Service, ...] = get_args(Service)

QUEUE = "writers"
"""In which the community's writers answer: one of them each request."""


class User(NamedTuple):
    """Who connects, with the key to prove it. Services and devices may have the same name."""

    community: str
    kind: Literal["device", "service"]
    name: str
    key: SigningKey

    @property
    def inbox(self) -> str:
        """What its inboxes' names begin with."""
        return subjects.inbox(self.community, self.kind, self.name)


class Rights(NamedTuple):
    """What one user may publish and what it may subscribe to; `subject queue` only as a member of it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def device_rights(community: str, device: str) -> Rights:
    """Of a device: its own affairs."""
    return _of_device(community, device, subjects.inbox(community, "device", device))


def service_rights(community: str, service: Service) -> Rights:
    """Of one part of the ledger."""
    return _OF_SERVICES[service](community, subjects.inbox(community, "service", service))


def _of_device(community: str, device: str, inbox: str) -> Rights:
    return Rights(
        publish=(subjects.envelopes(community, device), subjects.heads(community, device)),
        subscribe=(subjects.receipts(community, device), f"{inbox}.>"),
    )


def _of_writer(community: str, inbox: str) -> Rights:
    consumer = f"{subjects.STREAM}.{subjects.durable(community)}"
    return Rights(
        publish=(
            f"$JS.API.STREAM.INFO.{subjects.STREAM}",
            f"$JS.API.STREAM.CREATE.{subjects.STREAM}",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{consumer}",
            f"$JS.API.CONSUMER.MSG.NEXT.{consumer}",
            f"$JS.ACK.{consumer}.>",
            subjects.receipts(community),
            # Not "whoever asked": a device could give any subject for the place to answer.
            subjects.inboxes(community),
        ),
        subscribe=(
            f"{subjects.heads(community)} {QUEUE}",
            f"{subjects.seal(community)} {QUEUE}",
            f"{inbox}.>",
        ),
    )


def _of_api(community: str, inbox: str) -> Rights:
    return _of_device(community, "*", inbox)


def _of_settler(community: str, inbox: str) -> Rights:
    return _of_device(community, SERVICE, inbox)


def _of_operator(community: str, inbox: str) -> Rights:
    own = _of_device(community, OPERATOR, inbox)
    return own._replace(publish=(*own.publish, subjects.seal(community)))


_OF_SERVICES: dict[Service, Callable[[str, str], Rights]] = {
    "writer": _of_writer,
    "api": _of_api,
    "settler": _of_settler,
    "operator": _of_operator,
}


def users_text(
    community: str, services: Mapping[Service, PublicKey], devices: Mapping[str, PublicKey]
) -> str:
    """The block of nats-server's configuration that lets in the services and devices, each by its key and
    with its own rights. It holds no secret. Whoever is not in it is refused.

    Raises `ValueError` for nobody: nats-server would take that for no block at all, and let everybody in.
    """
    rows = service_rows(community, services)
    rows += [_row(f"device {name}", key, device_rights(community, name)) for name, key in devices.items()]
    if not rows:
        raise ValueError("a list of nobody would let everybody in")
    return "authorization {\n  users: [\n" + "".join(rows) + "  ]\n}\n"


def service_rows(community: str, services: Mapping[Service, PublicKey]) -> list[str]:
    """The services' rows of that list, with the rights that this version needs."""
    return [_row(f"service {name}", key, service_rights(community, name)) for name, key in services.items()]


def _row(name: str, key: PublicKey, rights: Rights) -> str:
    allowed = {side: {"allow": subjects} for side, subjects in rights._asdict().items()}
    permissions = json.dumps(allowed, separators=(",", ":"))
    return f"    # {name}\n    {{nkey: {user_nkey(key)}, permissions: {permissions}}}\n"

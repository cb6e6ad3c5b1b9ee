"""Webhooks: what somebody outside can be told of, to whom, and what became of it."""

from datetime import datetime
from hashlib import sha256
from typing import Final, Literal, NamedTuple, get_args

from ledger.access import Role

Topic = Literal[
    "run.provisional", "run.final", "run.revised", "invoice.issued", "credit-note.issued", "alarm.raised",
    "quarantine.fork", "webhook.disabled",
]  # fmt: skip
TOPICS: tuple[Topic, ...] = get_args(Topic)
FOR_OPERATORS: frozenset[Topic] = frozenset({"alarm.raised", "quarantine.fork", "webhook.disabled"})
"""What concerns the running of the campus; billing may be told of all else."""
ALARM: Final = "alarm.raised"
FORK: Final = "quarantine.fork"
DISABLED: Final = "webhook.disabled"
PING: Final = "ping"
"""What is told on demand and subscribed to by nobody."""

DeliveryState = Literal["waiting", "delivered", "failed"]
DisabledFor = Literal["gone", "failing"]
"""Its receiver said that it is gone for good (410), or took nothing for days."""


def topics_for(role: Role) -> tuple[Topic, ...]:
    """What a webhook of a role may be told of."""
    return tuple(topic for topic in TOPICS if role == "operator" or topic not in FOR_OPERATORS)


class Webhook(NamedTuple):
    """A webhook as the store has it; `sealed` holds its address and its secrets."""

    webhook: str
    role: Role
    made_by: str
    label: str
    origin: str
    topics: list[Topic]
    sealed: bytes
    created_at: datetime
    rotated_at: datetime | None = None
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    disabled_for: DisabledFor | None = None


class Message(NamedTuple):
    """What is to be told: `source` names what it is about, and is told once. `position` is its place in the
    book, if it has one."""

    source: str
    topic: str
    body: bytes
    position: int | None = None


class Delivery(NamedTuple):
    """A message on its way to one webhook. `due_at` is when it is tried next, if it waits."""

    delivery: str
    topic: str
    position: int | None
    created_at: datetime
    state: DeliveryState
    tries: int
    begun_at: datetime | None
    last_at: datetime | None
    due_at: datetime
    status: int | None
    code: str | None


class Due(NamedTuple):
    """A delivery that one process alone has taken to try it. `tries` counts that one."""

    webhook: str
    delivery: str
    topic: str
    body: bytes
    tries: int
    begun_at: datetime
    sealed: bytes


class Backlog(NamedTuple):
    """What waits, since when the oldest does, and how many webhooks are disabled."""

    waiting: int
    oldest: datetime | None
    disabled: int


def delivery_id(community: str, webhook: str, source: str) -> str:
    """The id of a delivery. It follows from what is told to whom, so an outbox that was restored from a copy
    and filled again tells the same under the same id, which a receiver knows already."""
    return f"msg_{sha256(chr(10).join((community, webhook, source)).encode()).hexdigest()[:32]}"

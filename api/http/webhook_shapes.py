"""What requests and answers about webhooks look like. Addresses and secrets are told to nobody again."""

from datetime import datetime
from typing import Annotated

import msgspec

from ledger.outgoing.target import URL_LENGTH_MAX
from ledger.webhooks import TOPICS, Delivery, DeliveryState, DisabledFor, Topic, Webhook

URL_EXAMPLE = "https://hooks.example.org/energy"
SECRET_EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - that of the specification's own test

Label = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*\Z")]
WebhookId = Annotated[str, msgspec.Meta(examples=["wh_0123456789abcdef"])]
DeliveryId = Annotated[str, msgspec.Meta(examples=["msg_0f0e0d0c0b0a09080706050403020100"])]


class NewWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to tell of what. The address is https, without user and fragment, and of a host that is reachable
    from everywhere."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=URL_LENGTH_MAX, examples=[URL_EXAMPLE])]
    topics: Annotated[
        list[Topic], msgspec.Meta(min_length=1, max_length=len(TOPICS), examples=[["invoice.issued"]])
    ]
    label: Label = ""


class WebhookShape(msgspec.Struct, frozen=True):
    """A webhook. Of its address the `origin` is shown, as paths and queries hold tokens. `role` is that of
    the `key` by which it was made. `failing_since` is there while nothing is taken, `disabled_at` when it is
    told nothing more, because its receiver is `gone` (410) or was `failing` for three days."""

    webhook: WebhookId
    role: str
    key: str
    label: str
    origin: Annotated[str, msgspec.Meta(examples=["https://hooks.example.org"])]
    topics: list[Topic]
    created_at: datetime
    rotated_at: datetime | None
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_for: DisabledFor | None


def webhook_shape(row: Webhook) -> WebhookShape:
    """As the API shows it."""
    return WebhookShape(
        row.webhook, row.role, row.made_by, row.label, row.origin, row.topics, row.created_at,
        row.rotated_at, row.failing_since, row.disabled_at, row.disabled_for,
    )  # fmt: skip


class WebhookSecret(msgspec.Struct, frozen=True):
    """A webhook with the secret by which a receiver checks signatures: it is shown this once. `before_until`
    is there while the secret before it counts too."""

    webhook: WebhookShape
    secret: Annotated[str, msgspec.Meta(examples=[SECRET_EXAMPLE])]
    before_until: datetime | None = None


class DeliveryShape(msgspec.Struct, frozen=True):
    """A message on its way. `position` is that of its event in the book; `due_at` is there while it waits,
    and tells when it is tried next. `status` is that of the newest answer, `code` says why the newest try
    failed: `not-taken` where somebody answered."""

    delivery: DeliveryId
    topic: str
    position: int | None
    created_at: datetime
    state: DeliveryState
    tries: int
    begun_at: datetime | None
    last_at: datetime | None
    due_at: datetime | None
    status: int | None
    code: str | None


def delivery_shape(row: Delivery) -> DeliveryShape:
    """As the API shows it."""
    due_at = row.due_at if row.state == "waiting" else None
    return DeliveryShape(**{**row._asdict(), "due_at": due_at})


class DeliveryWhole(msgspec.Struct, frozen=True):
    """A delivery and its body: exactly the text that is signed and sent."""

    delivery: DeliveryShape
    body: Annotated[
        str, msgspec.Meta(examples=['{"data":{},"timestamp":"2026-07-08T00:15:04Z","type":"ping"}'])
    ]

"""What the API sends of itself, as the part `webhooks` of its description (OpenAPI 3.1, section 4.8.1).

Each has an example with all that a receiver needs to try its check of signatures: secret, headers, and the
very bytes of the body.
"""

from datetime import UTC, date, datetime
from typing import Any

import msgspec

from api.http.shapes import amount
from api.http.webhook_shapes import SECRET_EXAMPLE
from api.webhooks.messages import (
    AlarmRaisedTold,
    DisabledTold,
    DocumentTold,
    ForkSeen,
    PingTold,
    RunTold,
    body_of,
)
from api.webhooks.signing import signed_headers
from ledger.webhooks import FOR_OPERATORS, PING, TOPICS

BASE = "/v1/communities/campus"
AT = datetime(2026, 7, 8, 0, 15, 4, tzinfo=UTC)
TRIED_AT = AT.replace(second=5)
DELIVERY = "msg_0f0e0d0c0b0a09080706050403020100"
WEBHOOK = "wh_0123456789abcdef"
HOW = (
    "Sent with `webhook-id`, the same at every try, `webhook-timestamp`, the seconds since 1970 of the try,"
    " and `webhook-signature`, by the Standard Webhooks specification: `v1,` and the base64 of the"
    " HMAC-SHA256 of id, timestamp and body with dots between, under the bytes whose base64 stands behind"
    " `whsec_` in the secret; two signatures with a space between while a secret is replaced. Check one over"
    " the body as it came, refuse a timestamp that is minutes off, and take what has an id that you know"
    " already without doing it again."
)

_RUN = RunTold(
    "campus", 4_711, 97, "provisional", "2026-07-08T00:00:00Z", "2026-07-08T00:15:00Z", 1, 0, 4_700,
    "0f" * 32, f"{BASE}/runs/97",
)  # fmt: skip
_DOCUMENT = DocumentTold(
    "campus", 4_712, "campus-2026-000002", "school", date(2026, 6, 1), date(2026, 7, 1), date(2026, 7, 8),
    date(2026, 7, 23), amount(284_330_000, "THB"), amount(4_346_200_000, "THB"), "1e" * 32, 96, "",
    f"{BASE}/invoices/campus-2026-000002",
)  # fmt: skip
_CREDIT = msgspec.structs.replace(
    _DOCUMENT, position=4_713, number="campus-2026-000003", cancels="campus-2026-000002",
    total=amount(-4_346_200_000, "THB"), vat=amount(-284_330_000, "THB"),
    link=f"{BASE}/invoices/campus-2026-000003",
)  # fmt: skip

TOLD: dict[str, tuple[str, msgspec.Struct]] = {
    "run.provisional": ("Intervals that have closed were settled.", _RUN),
    "run.final": (
        "A month was closed: it can be billed.",
        msgspec.structs.replace(_RUN, kind="final", settled=0),
    ),
    "run.revised": (
        "Intervals were settled again, as readings or prices have changed.",
        msgspec.structs.replace(_RUN, kind="revised", settled=0, revised=1),
    ),
    "invoice.issued": ("An invoice was issued.", _DOCUMENT),
    "credit-note.issued": ("A credit note cancels an invoice.", _CREDIT),
    "alarm.raised": (
        "A gateway raised an alarm.",
        AlarmRaisedTold(
            "campus", 4_714, "gw-1", "meter-silent", "m-school", "2026-07-08T00:15:04Z", f"{BASE}/alarms"
        ),
    ),
    "quarantine.fork": (
        "A message tells other than the book at a place of a stream: somebody else may have the key.",
        ForkSeen(
            "campus", "ab" * 32, "gw-1", "meter/m-school", 17, "2026-07-08T00:15:04Z",
            f"{BASE}/quarantine/{'ab' * 32}",
        ),
    ),
    "webhook.disabled": (
        "Another webhook is told nothing more.",
        DisabledTold(
            "campus", WEBHOOK, "https://hooks.example.org", "failing", "2026-07-08T00:15:04Z",
            f"{BASE}/webhooks/{WEBHOOK}",
        ),
    ),
    "ping": (
        "Somebody tries whether a webhook works.",
        PingTold("campus", WEBHOOK, f"{BASE}/webhooks/{WEBHOOK}"),
    ),
}  # fmt: skip
"""What each topic is, and an example."""


def told_webhooks(schemas: dict[str, Any]) -> dict[str, Any]:
    """The webhooks, by topic; the shapes of their data are put to the `schemas`."""
    kinds = {type(data) for _, data in TOLD.values()}
    _, found = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schemas |= found
    return {topic: {"post": _operation(topic)} for topic in (*TOPICS, PING)}


def signed_example(topic: str) -> dict[str, str]:
    """A message as it is sent, with the secret that it is signed by."""
    body = body_of(topic, AT, TOLD[topic][1])
    headers = signed_headers([SECRET_EXAMPLE], DELIVERY, int(TRIED_AT.timestamp()), body)
    return {"secret": SECRET_EXAMPLE, "body": body.decode(), **headers}


def _operation(topic: str) -> dict[str, Any]:
    text, data = TOLD[topic]
    shown = signed_example(topic)
    who = " For operators." if topic in FOR_OPERATORS else ""
    schema = {
        "type": "object",
        "required": ["data", "timestamp", "type"],
        "properties": {
            "type": {"const": topic},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"$ref": f"#/components/schemas/{type(data).__name__}"},
        },
    }
    example = msgspec.json.decode(shown["body"])
    return {
        "operationId": f"told_{topic.replace('.', '_').replace('-', '_')}",
        "tags": ["Webhooks"],
        "summary": text.rstrip("."),
        "description": f"{text}{who} {HOW}",
        "security": [],
        "parameters": [_header(name, shown[name]) for name in shown if name.startswith("webhook-")],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": {
            "2XX": {"description": "It was taken."},
            "410": {"description": "Nothing more is wanted: the webhook is disabled."},
            "default": {"description": "It was not taken, and is tried again for three days."},
        },
        "x-signed-example": shown,
    }


def _header(name: str, example: str) -> dict[str, Any]:
    return {
        "name": name, "in": "header", "required": True, "schema": {"type": "string"}, "example": example,
    }  # fmt: skip

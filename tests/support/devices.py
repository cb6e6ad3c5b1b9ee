"""Devices that reach the ledger over HTTP, as tests play them."""

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import msgspec

from ledger.canonical import encode
from ledger.client import BookClient
from ledger.entry import EMPTY, Head
from ledger.envelope import NewRun, seal_envelope
from ledger.event import Event
from ledger.events import MeterAdded, MeterAssigned
from ledger.keys import SigningKey
from ledger.opening import enrolment
from ledger.receipt import HEADS, Answer, read_receipt
from ledger.registry import OPERATOR, SERVICE
from tests.support.api import V1, Api
from tests.support.campus import MORNING, key
from tests.support.trading import DAY

JSON = {"Content-Type": "application/json"}
METER = "wifi-1"
STREAM = f"meter/{METER}"
SERVICE_KEY = key(SERVICE).public


async def ready(served: Api) -> None:
    await served.site.ledgers_clock.sleep_until(MORNING + 2 * DAY)
    await served.site.projector.catch_up()


async def tell(served: Api, *events: Event) -> None:
    """The operator tells the registry something, from wherever its chain goes on now."""
    client = BookClient(served.bus.bus, "campus", OPERATOR, key(OPERATOR), SERVICE_KEY)
    await client.open()
    await client.append("registry", events)


class Device:
    """What a self-signing meter holds: its key, and where its chains go on."""

    def __init__(
        self, client: httpx.AsyncClient, name: str = METER, signing: SigningKey | None = None
    ) -> None:
        self.client = client
        self.name = name
        self.key = signing or SigningKey.generate()
        self.heads: dict[str, Head] = {}

    async def enrol(self, token: str, role: Any = "meter") -> httpx.Response:
        request = enrolment("campus", self.name, role, self.key)
        body = {"token": token, "request": msgspec.to_builtins(request)}
        return await self.client.post(f"{V1}/devices/enrol", json=body)

    async def ask_heads(self) -> dict[str, Head]:
        answer = await self.client.get(f"{V1}/devices/{self.name}/heads")
        told = read_receipt(answer.content, "campus", SERVICE_KEY)
        assert (answer.status_code, told.code, told.device) == (200, HEADS, self.name)
        self.heads = {head.stream: head.head() for head in told.heads}
        return self.heads

    def envelope(self, stream: str, events: Sequence[Event], signing: SigningKey | None = None) -> bytes:
        run = NewRun(stream, self.heads.get(stream, EMPTY), [encode(event) for event in events])
        return seal_envelope("campus", self.name, signing or self.key, [run])[0]

    async def send(self, data: bytes) -> tuple[int, Answer]:
        """Status and verified receipt of an envelope; the device goes on from the heads it tells."""
        answer = await post(self.client, data)
        assert answer.headers["content-type"] == "application/json", answer.text
        told = read_receipt(answer.content, "campus", SERVICE_KEY)
        assert (told.device, told.envelope) == (self.name, sha256(data).hexdigest())
        self.heads.update({head.stream: head.head() for head in told.heads})
        return answer.status_code, told


async def post(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    return await client.post(f"{V1}/envelopes", content=data, headers=JSON)


async def token_for(operator: httpx.AsyncClient, device: str = METER, role: str = "meter") -> str:
    answer = await operator.post(f"{V1}/devices/tokens", json={"device": device, "role": role})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    token: str = answer.json()["token"]
    return token


async def enrolled(served: Api, client: httpx.AsyncClient, operator: httpx.AsyncClient) -> Device:
    """A meter that signs its own readings, enrolled and assigned to itself."""
    device = Device(client)
    assert (await device.enrol(await token_for(operator))).status_code == 201
    since = MORNING - timedelta(days=1)
    added = MeterAdded(meter=METER, role="connection", model="x", rated_w=69_000, since=since, building="b-1")
    await tell(served, added, MeterAssigned(meter=METER, device=METER, since=since))
    await device.ask_heads()
    return device


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def codes(device: Device, data: bytes) -> tuple[int, str]:
    status, receipt = await device.send(data)
    return status, receipt.code

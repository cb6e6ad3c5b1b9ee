"""Webhooks of a served campus: made over the API, told to a receiver, checked as an outsider would."""

import asyncio
import hmac
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest

from ledger.clock import monotonic_seconds
from tests.support.api import V1
from tests.support.receiver import Received

LOOPBACK = ("127.0.0.0/8",)
WAIT_SECONDS = 20


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what takes seconds take less."""
    monkeypatch.setattr("api.webhooks.dispatcher.POLL_SECONDS", 0.05)
    monkeypatch.setattr("api.webhooks.schedule.FIRST_DELAY", timedelta(milliseconds=100))


async def made(client: httpx.AsyncClient, url: str, *topics: str) -> tuple[str, str]:
    """A new webhook: its path and its secret."""
    answer = await client.post(f"{V1}/webhooks", json={"url": url, "topics": topics})
    assert answer.status_code == 201, answer.text
    found = answer.json()
    return f"{V1}/webhooks/{found['webhook']['webhook']}", found["secret"]


def is_signed(request: Received, *secrets: str) -> bool:
    """Whether a request has just these secrets' signatures, in this order."""
    signed = (
        f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    )
    macs = [
        hmac.new(b64decode(each.removeprefix("whsec_")), signed, sha256).digest() for each in secrets
    ]  # fmt: skip
    wanted = " ".join(f"v1,{b64encode(mac).decode()}" for mac in macs)
    return request.headers["webhook-signature"] == wanted


async def deliveries(client: httpx.AsyncClient, path: str, only: str = "") -> list[dict[str, Any]]:
    """What a webhook was told, the newest first."""
    answer = await client.get(f"{path}/deliveries", params={"only": only})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What `ask` gives, once it gives something."""
    end = monotonic_seconds() + WAIT_SECONDS
    while not (found := await ask()):
        assert monotonic_seconds() < end
        await asyncio.sleep(0.03)
    return found

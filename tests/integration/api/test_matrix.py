"""Who may ask for what: every route, by everybody there is, against a rule that is written again here."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.http.app import build_app
from api.http.metrics import Metrics
from api.http.openapi import EVENT_STREAM, handlers_of
from ledger.access import AccessKey, Role, new_key
from ledger.clock import SystemClock
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from tests.support.api import Api, api
from tests.support.store import migrated

WORDS = {"public", "log", "self", "members", "building", "auditor", "billing", "operator"}
EXAMPLE = {
    "community": "campus", "month": "2026-06", "number": "1", "digest": "ab" * 32, "path": "0/000",
    "code": "fork", "position": "0",
}  # fmt: skip
"""What stands in a path; for all else `x-1`, which is not there."""
REFUSED = {"not-authenticated", "not-allowed"}
AT_ONCE = 8


@dataclass(frozen=True)
class Asker:
    """Somebody who asks: with a key that counts, with one that does not, or with none."""

    name: str
    token: str | None = None
    role: Role | None = None
    building: str | None = None
    is_known: bool = False
    is_ours: bool = True


def allowed(may: set[str], asker: Asker, building: str | None, *, public_log: bool) -> bool:
    """Whether somebody may: by what stands at the handler, and by nothing else."""
    if asker.token is not None and not asker.is_known:
        return False  # a key that opens nothing is a mistake, wherever it is shown
    if "public" in may or ("log" in may and public_log):
        return True
    if asker.role is None or not asker.is_ours:
        return False
    if {"log", "self", "members"} & may:
        return True
    if asker.role == "building":
        return "building" in may and building == asker.building
    return asker.role in may


@pytest.fixture(scope="module", params=[False, True], ids=["closed log", "public log"])
async def served(
    request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Api]:  # fmt: skip
    dsn = await postgres_server.create_database(f"matrix_{request.param}".lower())
    await migrated(dsn)
    folder = tmp_path_factory.mktemp("api")
    limits = {"requests_a_minute": 1_000_000, "requests_a_minute_without_key": 1_000_000}
    async with api(dsn, nats_server, folder, public_log=request.param, **limits) as found:
        await found.site.projector.catch_up()
        yield found


async def askers(found: Api) -> list[Asker]:
    now, day = SystemClock().now(), timedelta(days=1)

    async def asker(name: str, role: Role, building: str | None = None, **odd: Any) -> Asker:
        key = new_key()
        row = AccessKey(
            key.prefix, key.digest, odd.get("community", "campus"), role, building, name, now - 2 * day,
            odd.get("expires_at", now + day),
        )  # fmt: skip
        await found.backend.access.add(row)
        if "revoked_at" in odd:
            assert await found.backend.access.end("campus", key.prefix, odd["revoked_at"])
        is_known = not {"expires_at", "revoked_at"} & odd.keys()
        return Asker(name, key.token, role, building, is_known, row.community == "campus")

    operator = await asker("operator", "operator")
    assert operator.token is not None
    return [
        operator,
        Asker("nobody"),
        Asker("wrong secret", operator.token[:-4] + "AAAA"),
        Asker("no such key", new_key().token),
        Asker("no token", "x"),
        await asker("expired", "operator", expires_at=now - day),
        await asker("revoked", "operator", revoked_at=now - day),
        await asker("another community's operator", "operator", community="elsewhere"),
        await asker("another community's building", "building", "b-1", community="elsewhere"),
        await asker("b-1", "building", "b-1"),
        await asker("b-2", "building", "b-2"),
        await asker("auditor", "auditor"),
        await asker("billing", "billing"),
    ]


def requests(found: Api) -> Iterator[tuple[str, str, set[str], str | None]]:
    """Method, path, `may`, and the building in the path: with b-1 and with one that is not there."""
    for path, method, handler in handlers_of(build_app(found.backend, Metrics("campus"))):
        may = set(handler.opt.get("may", ()))
        buildings = ("b-1", "nowhere") if "{building}" in path else (None,)
        for building in buildings:
            filled = path
            for name in path_names(path):
                value = building if name == "building" and building else EXAMPLE.get(name, "x-1")
                filled = filled.replace(f"{{{name}}}", value)
            yield method, filled, may, building


def path_names(path: str) -> list[str]:
    return [part.split("}")[0] for part in path.split("{")[1:]]


async def test_every_handler_says_who_may(served: Api) -> None:
    silent = [(method, path) for method, path, may, _ in requests(served) if not may or not may <= WORDS]
    assert silent == []


async def test_nobody_gets_what_is_not_for_them_and_everybody_what_is(served: Api) -> None:
    """With a public log, only what belongs to the log differs."""
    public_log, turns = served.backend.settings.public_log, asyncio.Semaphore(AT_ONCE)

    async def wrong(
        client: httpx.AsyncClient, asker: Asker, method: str, path: str, may: set[str], building: str | None
    ) -> str:
        content = b"{}" if method in ("POST", "PUT", "PATCH") else None
        async with turns, client.stream(method, path, headers=shown(asker), content=content) as answer:
            if EVENT_STREAM not in answer.headers.get("Content-Type", ""):  # which would have no end
                await answer.aread()
        is_refused = answer.status_code in (401, 403) and answer.json()["code"] in REFUSED
        is_right = is_refused != allowed(may, asker, building, public_log=public_log)
        is_fit = is_right and answer.status_code < 500
        return "" if is_fit else f"{asker.name}: {method} {path}: {answer.status_code}"

    async with httpx.AsyncClient(base_url=served.address, timeout=60) as client:
        found = await asyncio.gather(
            *(
                wrong(client, asker, *request)
                for asker in await askers(served)
                for request in requests(served)
                if "log" in request[2] or not public_log
            )
        )
    assert len(found) > 50
    assert [each for each in found if each] == []


def shown(asker: Asker) -> dict[str, str]:
    return {"Authorization": f"Bearer {asker.token}"} if asker.token else {}


async def test_another_communitys_path_is_not_there_for_anybody(served: Api) -> None:
    async with httpx.AsyncClient(base_url=served.address, timeout=30) as client:
        for asker in (await askers(served))[:2]:
            for method, path, _, _ in requests(served):
                if "/communities/campus" in path:
                    elsewhere = path.replace("/campus", "/elsewhere", 1)
                    answer = await client.request(method, elsewhere, headers=shown(asker))
                    assert answer.status_code == 404, (asker.name, elsewhere)


async def test_options_tells_nobody_anything(served: Api) -> None:
    async with served.client("operator") as client:
        assert (await client.options("/metrics")).status_code == 403
    async with served.client() as client:
        assert (await client.options("/metrics")).status_code == 401

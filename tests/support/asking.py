"""Those who ask the API: with keys and sessions that come, end and are shown in odd ways."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import httpx

from api.http.app import build_app
from api.http.cookies import PLAIN_NAME
from api.http.metrics import Metrics
from api.http.openapi import EVENT_STREAM, handlers_of
from api.http.parameters import query_of
from ledger.access import AccessKey, Role, new_key
from ledger.clock import SystemClock
from ledger.people import Person, csrf_token, new_person_id, new_session_token, session_digest
from tests.support.api import Api

T = TypeVar("T")
NO_PASSWORD = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA"
DAY = timedelta(days=1)


@dataclass
class Asker:
    """Somebody who asks. `counts` is whether the key or session still opens something."""

    token: str = ""
    role: Role | None = None
    building: str | None = None
    is_person: bool = False
    is_ours: bool = True
    counts: bool = True
    handle: str = ""

    @property
    def sees(self) -> str | None:
        """By what marks are seen."""
        if not (self.counts and self.is_ours):
            return None
        return self.building if self.role == "building" else self.role


class Route(NamedTuple):
    """A way to ask, the words that say who may, and what may be told in the query."""

    method: str
    path: str
    may: frozenset[str]
    query: frozenset[str] = frozenset()

    def fitting(self, query: str) -> str:
        """The query, if it has nothing that would be refused unlooked at; else none."""
        return query if {part.partition("=")[0] for part in query.split("&")} <= self.query else ""


class Told(NamedTuple):
    """An answer: its problem, if it is one, and all bytes of headers and body."""

    status: int
    problem: dict[str, Any]
    content: bytes


class World:
    """A served campus, asked from another thread than the one that serves it."""

    def __init__(self, found: Api, loop: asyncio.AbstractEventLoop) -> None:
        self.found = found
        self._loop = loop
        self.http = httpx.Client(base_url=found.address, timeout=60)
        self.key = ""
        self.answers: Counter[Role] = Counter()
        handlers = handlers_of(build_app(found.backend, Metrics("campus")))
        self.routes = [
            Route(
                method,
                path,
                frozenset(handler.opt["may"]),
                frozenset(each.name for each in query_of(handler).values()),
            )
            for path, method, handler in handlers
        ]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives, run where the API is served."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def ask(self, asker: Asker, route: Route, path: str, query: str, shown: str) -> Told:
        """The answer; of one without end, the beginning."""
        headers = {"Content-Type": "application/json"} if route.method in ("POST", "PUT", "PATCH") else {}
        if asker.token and not asker.is_person:
            headers["Authorization"] = f"Bearer {asker.token}"
        if asker.is_person:
            headers["Cookie"] = f"{PLAIN_NAME}={asker.token}"
            if shown != "no CSRF token":
                other = shown == "another's CSRF token"
                headers["X-CSRF-Token"] = csrf_token(new_session_token() if other else asker.token)
            if shown == "with a key as well":
                headers["Authorization"] = f"Bearer {self.key}"
        if shown == "cross-site":
            headers["Sec-Fetch-Site"] = "cross-site"
        content = b"{}" if "Content-Type" in headers else None
        url = f"{path}?{query}" if query else path
        with self.http.stream(route.method, url, headers=headers, content=content) as answer:
            kind = answer.headers.get("Content-Type", "")
            body = next(answer.iter_bytes()) if EVENT_STREAM in kind else answer.read()
            said = b"".join(name + value for name, value in answer.headers.raw)
        if answer.status_code == 200 and asker.counts and asker.role:
            self.answers[asker.role] += 1
        problem = json.loads(body) if "problem+json" in kind else {}
        return Told(answer.status_code, problem, said + body)

    async def add_key(self, asker: Asker, expires_at: datetime) -> None:
        """Give somebody a key."""
        key, now = new_key(), SystemClock().now()
        community = "campus" if asker.is_ours else "elsewhere"
        begun = min(now, expires_at) - DAY
        await self.found.backend.access.add(
            AccessKey(
                key.prefix,
                key.digest,
                community,
                asker.role or "auditor",
                asker.building,
                "",
                begun,
                expires_at,
            )
        )
        asker.token, asker.handle = key.token, key.prefix

    async def begin_session(self, asker: Asker) -> None:
        """Give somebody a session."""
        now, name = SystemClock().now(), new_person_id()
        community = "campus" if asker.is_ours else "elsewhere"
        person = Person(name, community, name, asker.role or "auditor", asker.building, NO_PASSWORD, now, now)
        assert await self.found.backend.people.add(person)
        asker.token, asker.handle, asker.is_person = new_session_token(), name, True
        assert await self.found.backend.people.begin(session_digest(asker.token) or b"", person, now)

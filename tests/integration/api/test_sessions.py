"""People in a browser: logging in and out, what a session is good for, and what ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http.cookies import PLAIN_NAME, SECURE_NAME
from api.passwords import Passwords
from ledger.access import Role
from ledger.clock import SystemClock, monotonic_seconds
from ledger.embedded import EmbeddedNats
from ledger.people import IDLE, Person, csrf_token, new_person_id
from tests.support.api import V1, Api, api
from tests.support.place import Place
from tests.support.store import owner

PASSWORD = "mango under the ferry"
OTHER = "eleven quiet tuk-tuks"
SESSION = f"{V1}/session"
SETTINGS = """\
[community]
id = "campus"

[postgres]
url = "{postgres}"

[nats]
url = "{nats}"
"""


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        await found.site.projector.catch_up()
        yield found


@pytest.fixture
def place(served: Api, database: str, nats_server: EmbeddedNats, tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.config.write_text(SETTINGS.format(postgres=database, nats=nats_server.url))
    return found


async def add(found: Api, name: str, role: Role = "operator", building: str | None = None) -> Person:
    now = SystemClock().now()
    person = Person(new_person_id(), "campus", name, role, building, Passwords().hashed(PASSWORD), now, now)
    assert await found.backend.people.add(person)
    return person


@asynccontextmanager
async def browser(found: Api, name: str = "", password: str = PASSWORD) -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps cookies; of somebody who has logged in, if a name is told."""
    async with httpx.AsyncClient(base_url=found.address, timeout=30) as client:
        if name:
            answer = await client.post(SESSION, json={"name": name, "password": password})
            assert answer.status_code == 201, answer.text
            client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_somebody_logs_in_asks_and_logs_out(served: Api) -> None:
    person = await add(served, "lek@example.org", "building", "b-1")
    async with browser(served) as client:
        assert code(await client.get(SESSION)) == (401, "not-authenticated")
        begun = await client.post(SESSION, json={"name": "Lek@Example.org", "password": PASSWORD})
        cookie = begun.headers["Set-Cookie"]
        assert cookie.startswith(f"{PLAIN_NAME}=")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert begun.headers["Cache-Control"] == "no-store"
        token = client.cookies[PLAIN_NAME]
        assert begun.json()["csrf_token"] == csrf_token(token)
        assert token not in begun.text

        told = (await client.get(SESSION)).json()
        assert told == begun.json()
        assert (told["role"], told["building"], told["name"]) == ("building", "b-1", "lek@example.org")
        own = await client.get(f"{V1}/buildings/b-1/meters")
        assert own.status_code == 200
        assert "Cookie" in own.headers["Vary"]
        assert code(await client.get(f"{V1}/buildings/b-2/meters")) == (403, "not-allowed")
        assert code(await client.get("/metrics")) == (403, "not-allowed")

        ended = await client.delete(SESSION, headers={"X-CSRF-Token": told["csrf_token"]})
        assert ended.status_code == 204
        assert "Max-Age=0" in ended.headers["Set-Cookie"]
        shown = {"Cookie": f"{PLAIN_NAME}={token}"}
        assert code(await client.get(SESSION, headers=shown)) == (401, "not-authenticated"), "at once"
    async with owner(served.site.store) as connection:
        kept = await connection.fetch("SELECT * FROM access.people, access.sessions")
        assert not kept
        hashed = await connection.fetchval("SELECT password FROM access.people WHERE id = $1", person.id)
        assert hashed.startswith("$argon2id$")


async def test_over_tls_the_cookie_is_secure_and_in_the_clear_nobody_logs_in(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path, trusted_proxies=("127.0.0.1",)) as found:
        await add(found, "lek")
        async with browser(found) as client:
            login = {"name": "lek", "password": PASSWORD}
            tls = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7", "Host": "ledger.example.org"}
            begun = await client.post(SESSION, json=login, headers=tls)
            cookie = begun.headers["Set-Cookie"]
            assert cookie.startswith(f"{SECURE_NAME}=")
            assert "Secure" in cookie.split("; ")
            token = cookie.partition("=")[2].partition(";")[0]
            shown = {"Cookie": f"{SECURE_NAME}={token}"}
            assert (await client.get(SESSION, headers={**tls, **shown})).status_code == 200
            assert (await client.get(SESSION, headers=shown)).status_code == 401
            for clear in (
                {"Host": "ledger.example.org"},
                {"X-Forwarded-For": "203.0.113.7"},
                {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http"},
            ):
                assert code(await client.post(SESSION, json=login, headers=clear)) == (403, "not-secure")


async def test_a_session_changes_something_only_from_a_page_of_its_own(served: Api) -> None:
    await add(served, "lek")
    path = f"{V1}/devices/enrolments"
    async with browser(served, "lek") as client:
        for headers in (
            {"X-CSRF-Token": ""},
            {"X-CSRF-Token": "x"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": served.address},
        ):
            for method, where in (("POST", path), ("DELETE", SESSION), ("POST", f"{SESSION}/password")):
                answer = await client.request(method, where, headers=headers, content=b"{}")
                assert code(answer) == (403, "cross-site"), (headers, where)
            assert (await client.get(SESSION, headers=headers)).status_code == 200
        fit = {"Origin": served.address, "Sec-Fetch-Site": "same-origin"}
        assert (await client.post(f"{SESSION}/password", headers=fit, content=b"{}")).status_code == 400
        evil = {"Origin": "https://evil.example"}
        login = {"name": "lek", "password": PASSWORD}
    async with browser(served) as client:
        assert code(await client.post(SESSION, json=login, headers=evil)) == (403, "cross-site")


async def test_a_key_and_a_session_together_are_refused_and_a_key_needs_no_token(served: Api) -> None:
    await add(served, "lek")
    async with browser(served, "lek") as client:
        key = {"Authorization": f"Bearer {await served.token('operator')}"}
        assert code(await client.get(SESSION, headers=key)) == (401, "two-credentials")
    async with served.client("operator") as client:
        told = (await client.get(SESSION)).json()
        assert (told["role"], told["name"], told["csrf_token"]) == ("operator", None, None)
        assert code(await client.delete(SESSION)) == (409, "no-session")
        change = {"password": PASSWORD, "new_password": OTHER}
        assert code(await client.post(f"{SESSION}/password", json=change)) == (409, "no-session")


async def test_an_old_cookie_is_in_nobodys_way(served: Api) -> None:
    await add(served, "lek")
    async with browser(served) as client:
        client.cookies.set(PLAIN_NAME, "x" * 43, domain="127.0.0.1")
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/metrics")).status_code == 401
        login = {"name": "lek", "password": PASSWORD}
        assert (await client.post(SESSION, json=login)).status_code == 201


async def test_a_wrong_name_is_answered_as_a_wrong_password_is(served: Api) -> None:
    await add(served, "lek")
    async with browser(served) as client:
        answers, took = [], []
        for name in ("lek", "nobody", "not a name"):
            begin = monotonic_seconds()
            answers.append(await client.post(SESSION, json={"name": name, "password": "wrong"}))
            took.append(monotonic_seconds() - begin)
        assert [code(answer) for answer in answers] == [(401, "login-refused")] * 3
        bodies = [{**answer.json(), "instance": ""} for answer in answers]
        assert bodies[0] == bodies[1] == bodies[2]
        assert min(took[1:]) > 0.01, "a password is verified all the same"


async def test_guessing_is_answered_with_when_to_try_again(served: Api) -> None:
    await add(served, "lek")
    async with browser(served) as client:
        answers = [
            await client.post(SESSION, json={"name": "lek", "password": f"wrong {n}"}) for n in range(8)
        ]
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10


async def test_another_password_ends_all_other_sessions(served: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(served, "lek")
    async with browser(served, "lek") as here, browser(served, "lek") as there:
        change = {"password": PASSWORD, "new_password": OTHER}
        short = {"password": PASSWORD, "new_password": "short"}
        wrong = {"password": OTHER, "new_password": OTHER}
        assert code(await here.post(f"{SESSION}/password", json=short)) == (422, "password-unfit")
        assert code(await here.post(f"{SESSION}/password", json=wrong)) == (401, "login-refused")
        assert (await there.get(SESSION)).status_code == 200
        assert (await here.post(f"{SESSION}/password", json=change)).status_code == 204
        assert (await there.get(SESSION)).status_code == 401
        assert (await here.get(SESSION)).status_code == 200
        old = await there.post(SESSION, json={"name": "lek", "password": PASSWORD})
        assert code(old) == (401, "login-refused")
    async with browser(served, "lek", OTHER) as client:
        assert (await client.get(SESSION)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE access.people SET ended_at = now()",
        "UPDATE access.people SET role = 'auditor'",
        "UPDATE access.people SET role = 'building', building = 'b-1'",
        "DELETE FROM access.sessions",
        "UPDATE access.sessions SET seen_at = seen_at - interval '15 minutes'",
        "UPDATE access.sessions SET begun_at = begun_at - interval '12 hours'",
    ],
)
async def test_whoever_ends_or_becomes_somebody_else_is_out_within_seconds(
    served: Api, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr("api.http.sessions.REMEMBERED_SECONDS", 0.2)
    await add(served, "lek")
    async with browser(served, "lek") as client:
        assert (await client.get(SESSION)).status_code == 200
        async with owner(served.site.store) as connection:
            await connection.execute(change)
        await asyncio.sleep(0.25)
        assert (await client.get(SESSION)).status_code == 401


async def test_use_is_written_down_once_a_minute_and_old_sessions_are_forgotten(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.sessions.REMEMBERED_SECONDS", 0.0)
    await add(served, "lek")
    seen = "SELECT seen_at FROM access.sessions"
    async with browser(served, "lek") as client, owner(served.site.store) as connection:
        begun = await connection.fetchval(seen)
        await client.get(SESSION)
        assert await connection.fetchval(seen) == begun
        await connection.execute("UPDATE access.sessions SET seen_at = seen_at - interval '2 minutes'")
        await client.get(SESSION)
        assert await connection.fetchval(seen) >= begun
        now = SystemClock().now()
        await served.backend.people.forget(now)
        assert await connection.fetchval(seen) is not None
        await served.backend.people.forget(now + IDLE + timedelta(minutes=1))
        assert await connection.fetchval(seen) is None


async def test_a_login_that_raced_with_a_change_of_password_begins_no_session(served: Api) -> None:
    person, now = await add(served, "lek"), SystemClock().now()
    people = served.backend.people
    assert await people.begin(b"a" * 32, person, now)
    assert await people.change_password(person, Passwords().hashed(OTHER), now + timedelta(seconds=1))
    assert not await people.begin(b"b" * 32, person, now)
    assert not await people.change_password(person, Passwords().hashed(OTHER), now), "nor twice at once"
    assert await people.session(b"a" * 32) is None


async def test_the_access_log_tells_which_person_asked(served: Api) -> None:
    person = await add(served, "lek")
    async with browser(served, "lek") as client:
        await client.get(f"{V1}/alarms")
        await asyncio.sleep(1.5)
        rows: list[dict[str, Any]] = (await client.get(f"{V1}/requests")).json()["items"]
    mine = {(row["method"], row["path"]) for row in rows if row["key"] == person.id}
    assert {("POST", SESSION), ("GET", f"{V1}/alarms")} <= mine
    assert {row["person"] for row in rows if row["key"] == person.id} == {"lek"}


async def test_people_are_added_listed_given_passwords_and_ended_by_command(
    served: Api, place: Place, tmp_path: Path
) -> None:
    async def run(*words: str, code: int = 0) -> str:
        return await asyncio.to_thread(place.run, "person", *words, code=code)

    (tmp_path / "one").write_text(f"{PASSWORD}\n")
    (tmp_path / "two").write_text(OTHER)
    (tmp_path / "bad").write_text("password1234")
    assert "nobody yet" in await run("list")
    await run("add", "Lek@example.org", "building", "--building", "b-1", "--password-file", "one")
    async with browser(served, "lek@example.org") as client:
        assert (await client.get(f"{V1}/buildings/b-1/meters")).status_code == 200
    await run("password", "lek@example.org", "--password-file", "two")
    listed = await run("list")
    for word in ("lek@example.org", "building", "b-1", "counts"):
        assert word in listed
    assert "argon2" not in listed
    async with browser(served, "lek@example.org", OTHER) as client:
        await run("end", "lek@example.org")
        async with asyncio.timeout(10):
            while (await client.get(SESSION)).status_code == 200:
                await asyncio.sleep(0.2)
    for words, said in (
        (("add", "lek", "building", "--password-file", "one"), "key-unfit"),
        (("add", "lek", "operator", "--building", "b-1", "--password-file", "one"), "key-unfit"),
        (("add", "lek", "building", "--building", "b-9", "--password-file", "one"), "unknown-building"),
        (("add", "lek", "operator", "--password-file", "bad"), "password-unfit"),
        (("add", "lek", "operator", "--password-file", "none"), "password-unfit"),
        (("add", "l\u00e9k", "operator", "--password-file", "one"), "person-unfit"),
        (("password", "lek@example.org", "--password-file", "one"), "unknown-person"),
        (("end", "lek@example.org"), "unknown-person"),
    ):
        assert said in await run(*words, code=2), words
    await run("add", "lek@example.org", "auditor", "--password-file", "one")
    assert "person-known" in await run("add", "lek@example.org", "auditor", "--password-file", "one", code=2)
    async with browser(served, "lek@example.org") as client:
        assert (await client.get(SESSION)).json()["role"] == "auditor"


async def test_no_body_of_a_stranger_is_a_failure_of_ours(served: Api) -> None:
    request = {"device": "gw-x", "role": "gateway", "public_key": "0" * 64, "possession": "AA=="}
    async with served.client() as client:
        for path in (SESSION, f"{V1}/devices/enrol"):
            for odd in ("[" * 3_000, '{"name":' + "[" * 3_000, b'{"name":"x","password":"S\xff"}'):
                answer = await client.post(path, content=odd, headers={"Content-Type": "application/json"})
                assert (answer.status_code, code(answer)[1]) == (422, "malformed"), answer.text
            empty = await client.post(path, content=b"", headers={"Content-Type": "application/json"})
            assert (empty.status_code, empty.json()["detail"]) == (400, "this needs a body"), empty.text
        nul = await client.post(SESSION, json={"name": "a\0b", "password": PASSWORD})
        assert code(nul) == (422, "unstorable-text"), nul.text
        nul = await client.post(f"{V1}/devices/enrol", json={"token": "\0.aaaa", "request": request})
        assert code(nul)[0] in (401, 403, 422), nul.text

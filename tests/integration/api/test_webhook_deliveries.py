"""Deliveries that do not go well: failed, failed but done, interrupted, shared by processes, led astray."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.http.backend import Backend
from api.http.server import served as serving
from api.webhooks.dispatcher import Dispatcher
from ledger.clock import SystemClock, VirtualClock
from ledger.embedded import EmbeddedNats
from ledger.outgoing.addresses import networks
from ledger.outgoing.door import Outgoing
from ledger.postgres import StoreUnavailable
from ledger.webhooks import Due, Message
from tests.support.api import Api, api
from tests.support.place import ROOT, environment
from tests.support.receiver import Received, Receiver, answer, receiving
from tests.support.trading import quarters
from tests.support.webhooks import LOOPBACK, deliveries, hurry, is_signed, made, until

HOUR = timedelta(hours=1)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def served(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    hurry(monkeypatch)
    async with api(database, nats_server, tmp_path, outgoing_allow=LOOPBACK) as found:
        await found.site.projector.catch_up()
        yield found


@pytest.fixture
async def operator(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("operator") as client:
        yield client


async def a_run(served: Api) -> None:
    """One settlement run, which the projections have seen."""
    await quarters(served.site, 0, 4)
    await served.site.clock.sleep_until(served.site.ledgers_clock.now())
    await served.site.settle()
    await served.site.projector.catch_up()


def ids(receiver: Receiver) -> set[str]:
    return {each.headers["webhook-id"] for each in receiver.received}


# --- what fails is tried again ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 307])
async def test_what_is_not_taken_is_sent_again_under_the_same_id(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, status: int
) -> None:
    async with receiving() as elsewhere:
        path, secret = await made(operator, receiver.url, "run.provisional")
        receiver.answering = answer(status, b"no", f"Location: http://127.0.0.1:{elsewhere.port}/")
        await a_run(served)
        await receiver.until(2)
        (waits,) = await deliveries(operator, path)
        assert (waits["state"], waits["code"], waits["status"]) == ("waiting", "not-taken", status)
        assert (await operator.get(path)).json()["failing_since"] is not None
        receiver.answering = answer(204)
        (done,) = await until(lambda: deliveries(operator, path, "delivered"))
        assert elsewhere.connections == 0, "a redirect is not followed"
    assert (done["code"], done["status"], done["due_at"]) == (None, 204, None)
    assert done["tries"] == len(receiver.received)
    assert len(ids(receiver)) == 1
    assert len({each.body for each in receiver.received}) == 1
    assert all(is_signed(each, secret) for each in receiver.received)
    assert (await operator.get(path)).json()["failing_since"] is None


async def test_who_is_not_there_or_does_not_answer_is_asked_again(
    served: Api, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.outgoing.door.TOTAL_SECONDS", 0.3)
    async with receiving() as first:
        path, _ = await made(operator, first.url, "run.provisional")
        port = first.port
    await a_run(served)
    await until(lambda: coded(operator, path, "outgoing-failed"))

    async def silent(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)

    async with receiving(port=port) as second:
        second.answering = silent
        await until(lambda: coded(operator, path, "outgoing-too-slow"))
        second.answering = answer(200, b"x" * 10_000_000)  # long, and taken all the same
        (done,) = await until(lambda: deliveries(operator, path, "delivered"))
        assert done["status"] == 200
        assert len(ids(second)) == 1


async def coded(client: httpx.AsyncClient, path: str, code: str) -> list[dict[str, Any]]:
    return [each for each in await deliveries(client, path) if each["code"] == code]


async def test_a_receiver_that_asks_for_time_is_given_it(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    path, _ = await made(operator, receiver.url, "run.provisional")
    receiver.answering = answer(429, b"", "Retry-After: 3600")
    await a_run(served)
    (waits,) = await until(lambda: coded(operator, path, "not-taken"))
    assert waits["due_at"] > (SystemClock().now() + HOUR / 2).isoformat()
    await asyncio.sleep(0.5)
    assert len(receiver.received) == 1


async def test_who_answers_slowly_holds_nobody_else_up(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    go = asyncio.Event()

    async def slow(request: Received, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await answer(204)(request, writer)

    async with receiving() as other:
        other.answering = slow
        slowly, _ = await made(operator, other.url, "run.provisional")
        await made(operator, receiver.url, "run.provisional")
        await a_run(served)
        await asyncio.gather(receiver.until(1), other.until(1))
        go.set()
        await until(lambda: deliveries(operator, slowly, "delivered"))


# --- failed but done, and interrupted ---------------------------------------------------------------------


async def test_a_delivery_that_could_not_be_noted_is_sent_again_under_the_same_id(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.webhooks.dispatcher.LEASE", timedelta(seconds=0.5))
    outbox, note = served.backend.webhooks.outbox, served.backend.webhooks.outbox.note_delivered
    failures = iter([StoreUnavailable("gone")])

    async def once(due: Due, status: int) -> None:
        for error in failures:
            raise error
        await note(due, status)

    monkeypatch.setattr(outbox, "note_delivered", once)
    path, _ = await made(operator, receiver.url, "run.provisional")
    await a_run(served)
    (done,) = await until(lambda: deliveries(operator, path, "delivered"))
    assert (done["tries"], len(receiver.received), len(ids(receiver))) == (2, 2, 1)


async def test_what_a_process_took_that_died_is_sent_by_another_when_its_time_is_over(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died after it had sent, and before it could note it: nobody else can know."""
    parts = served.backend.webhooks
    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "_try_step", nothing)  # of the API that is served
        path, _ = await made(operator, receiver.url, "run.provisional")
        await a_run(served)
        now = SystemClock().now()
        for name in await parts.outbox.behind(now):
            await parts.outbox.fill(name, now, now)
        until_then = now + timedelta(seconds=2)
        (died,) = await parts.outbox.take(now, until_then, {}, 4, 32)
        await Dispatcher(parts, SystemClock(), lambda _: None)._reply(died)
        assert await parts.outbox.take(now, until_then, {}, 4, 32) == [], "nobody else takes it"
    (done,) = await until(lambda: deliveries(operator, path, "delivered"))
    assert SystemClock().now() >= until_then
    assert (done["tries"], len(receiver.received), ids(receiver)) == (2, 2, {died.delivery})
    await parts.outbox.note_failed(died, now, now, None, "late")
    (after,) = await deliveries(operator, path)
    assert (after["state"], after["code"]) == ("delivered", None), "a word that comes late does not count"


async def test_what_waited_longest_is_taken_first_and_of_each_webhook_so_much_as_it_has_places_for(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = served.backend.webhooks.outbox
    monkeypatch.setattr(Dispatcher, "_try_step", nothing)  # of the API that is served
    paths = sorted(
        [(await made(operator, receiver.url, "run.provisional"))[0] for _ in range(2)], reverse=True
    )
    for path in paths:  # the one whose name is later has waited longer
        assert (await operator.post(f"{path}/ping")).status_code == 202
    late, early = (path.rsplit("/", 1)[1] for path in paths)
    now = SystemClock().now()
    taken = partial(outbox.take, now, now + HOUR)
    assert [due.webhook for due in await taken({}, 4, 1)] == [late]
    assert await taken({early: 0}, 4, 32) == []
    assert [due.webhook for due in await taken({early: 1}, 0, 32)] == [early]


async def test_a_webhook_whose_outbox_cannot_be_filled_keeps_no_other_waiting(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = served.backend.webhooks.outbox
    paths = [(await made(operator, receiver.url, "run.provisional"))[0] for _ in range(2)]
    broken, whole = sorted(path.rsplit("/", 1)[1] for path in paths)
    fill = outbox.fill

    async def fails(name: str, *rest: Any) -> None:
        if name == broken:
            raise ValueError("nobody thought of it")
        await fill(name, *rest)

    monkeypatch.setattr(outbox, "fill", fails)
    await a_run(served)
    (path,) = (path for path in paths if path.endswith(whole))
    assert await until(lambda: deliveries(operator, path, "delivered"))


async def test_a_process_that_is_killed_while_it_sends_leaves_that_to_another(
    served: Api,
    database: str,
    operator: httpx.AsyncClient,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []

    async def kill_it(request: Received, writer: asyncio.StreamWriter) -> None:
        if not killed:
            teller.kill()
            killed.append(await teller.wait())
        await answer(204)(request, writer)

    receiver.answering = kill_it
    path, secret = await made(operator, receiver.url, "run.provisional")
    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "_try_step", nothing)  # of the API that is served
        await a_run(served)
        teller = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.telling", database, cwd=ROOT, env=environment()
        )
        try:
            await until(lambda: is_over(killed))
        finally:
            if teller.returncode is None:
                teller.kill()
    (done,) = await until(lambda: deliveries(operator, path, "delivered"))
    assert (killed, done["tries"]) == ([-signal.SIGKILL], 2)
    one, two = receiver.received
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert one.body == two.body
    assert is_signed(one, secret)
    assert is_signed(two, secret)


async def is_over(killed: list[int]) -> bool:
    return bool(killed)


async def nothing(*_: object) -> list[Due]:
    return []


async def test_a_process_that_stops_lets_what_it_sends_arrive(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, stop, hang = served.backend.webhooks, asyncio.Event(), asyncio.Event()

    async def slow(request: Received, writer: asyncio.StreamWriter) -> None:
        hang.set()
        await asyncio.sleep(0.5)
        await answer(204)(request, writer)

    receiver.answering = slow
    path, _ = await made(operator, receiver.url, "run.provisional")
    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "_try_step", nothing)  # of the API that is served
        await operator.post(f"{path}/ping")
        patch.undo()
        task = asyncio.ensure_future(Dispatcher(parts, SystemClock(), lambda _: None).run(stop))
    await hang.wait()
    stop.set()
    await task
    assert [each["state"] for each in await deliveries(operator, path)] == ["delivered"]


async def test_several_processes_share_the_work(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    """Each message is sent once as long as nothing fails, and filled into the outbox once."""
    book, settings = served.backend.book, served.backend.settings
    backends = [
        Backend(book, settings, served.backend.pool, served.backend.bus, served.backend.ledger, SystemClock())
        for _ in range(2)
    ]
    paths = [(await made(operator, receiver.url, "run.provisional", "run.final"))[0] for _ in range(6)]
    async with serving(backends[0]), serving(backends[1]):
        await a_run(served)
        for path in paths:
            await until(lambda path=path: deliveries(operator, path, "delivered"))  # type: ignore[misc]  # bound
        await asyncio.sleep(0.5)
    assert len(receiver.received) == len(ids(receiver))
    assert len({(each.headers["webhook-id"], each.body) for each in receiver.received}) >= 6


async def test_a_message_waits_for_the_next_start(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came while nobody served is told, too."""
    hurry(monkeypatch)
    async with (
        receiving() as receiver,
        api(database, nats_server, tmp_path, outgoing_allow=LOOPBACK) as found,
    ):
        await found.site.projector.catch_up()
        with monkeypatch.context() as patch:
            patch.setattr(Dispatcher, "_try_step", nothing)  # as if no process told anything
            async with found.client("operator") as operator:
                await made(operator, receiver.url, "run.provisional")
            await a_run(found)
            await asyncio.sleep(0.3)
            assert receiver.received == []
        (sent,) = await receiver.until(1)
        assert json.loads(sent.body)["data"]["number"] == 1


async def test_what_cannot_be_filled_or_sent_keeps_nothing_else_from_being_told(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = served.backend.webhooks
    path, _ = await made(operator, receiver.url, "run.provisional")

    def broken(*_: object) -> Message:
        raise RuntimeError("a failure of our own")

    with monkeypatch.context() as patch:
        patch.setattr(parts.telling, "settled", broken)
        await a_run(served)
        await operator.post(f"{path}/ping")
        await receiver.until(1)
        await until(lambda: deliveries(operator, path, "delivered"))
        patch.setattr(parts.seal, "open", broken)
        await operator.post(f"{path}/ping")
        (failed,) = await until(lambda: deliveries(operator, path, "failed"))
        assert failed["code"] == "internal-error"
    await until(lambda: delivered(operator, path, 2))


# --- led astray -------------------------------------------------------------------------------------------


async def test_a_name_that_leads_inside_later_is_refused_and_not_connected_to(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    leads = ["127.0.0.1"]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return leads

    async with receiving() as inside:
        served.backend.webhooks.outgoing = Outgoing(networks(["127.0.0.1/32"]), rebinding)
        path, _ = await made(operator, f"http://hooks.example.org:{receiver.port}/", "run.provisional")
        await operator.post(f"{path}/ping")
        await receiver.until(1)
        leads[0] = "127.0.0.2"
        await operator.post(f"{path}/ping")
        await until(lambda: coded(operator, path, "outgoing-refused"))
        assert (len(receiver.received), inside.connections) == (1, 0)


# --- given up, gone, disabled -----------------------------------------------------------------------------


async def test_a_receiver_that_is_gone_is_told_nothing_more_until_it_is_enabled(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    async with receiving() as watching:
        await made(operator, watching.url, "webhook.disabled")
        path, _ = await made(operator, receiver.url, "run.provisional", "run.final", "webhook.disabled")
        receiver.answering = answer(410)
        await a_run(served)
        (told,) = await watching.until(1)
        await asyncio.sleep(0.3)
    data = json.loads(told.body)["data"]
    assert (data["webhook"], data["reason"]) == (path.rpartition("/")[2], "gone")
    assert (await operator.get(data["link"])).json()["disabled_for"] == "gone"
    (failed,) = await deliveries(operator, path)
    again = await operator.post(f"{path}/deliveries/{failed['delivery']}/redeliver")
    assert (again.status_code, again.json()["code"]) == (409, "webhook-disabled")
    count = len(receiver.received)
    await quarters(served.site, 4, 8)
    await served.site.settle()
    await served.site.projector.catch_up()
    await asyncio.sleep(0.3)
    assert len(receiver.received) == count
    receiver.answering = answer(204)
    assert (await operator.post(f"{path}/enable")).json()["disabled_at"] is None
    assert (await operator.post(f"{path}/deliveries/{failed['delivery']}/redeliver")).status_code == 202
    await until(lambda: both_delivered(operator, path))
    assert [json.loads(each.body)["data"]["number"] for each in receiver.received[count:]].count(1) == 1


async def both_delivered(client: httpx.AsyncClient, path: str) -> bool:
    return len(await deliveries(client, path, "delivered")) == 2


async def test_what_is_not_taken_for_three_days_is_given_up_and_the_webhook_disabled(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dispatcher, "_try_step", nothing)  # of the API that is served beside
    path, _ = await made(operator, receiver.url, "run.provisional")
    await a_run(served)
    receiver.answering = answer(500)
    clock, outcomes = VirtualClock(SystemClock().now()), list[str]()
    dispatcher = Dispatcher(served.backend.webhooks, clock, outcomes.append)
    monkeypatch.setattr("api.webhooks.dispatcher.POLL_SECONDS", -1.0)
    begin = clock.now()
    while not (await deliveries(operator, path, "failed")):
        await dispatcher._fill()
        await dispatcher._send_due()
        while dispatcher._at_work:
            await asyncio.sleep(0.01)
        clock.advance(timedelta(minutes=30))
        assert clock.now() - begin < timedelta(days=4)
    (failed,) = await deliveries(operator, path)
    assert timedelta(days=3) <= clock.now() - begin <= timedelta(days=3, hours=1)
    assert failed["tries"] == len(receiver.received) == len(outcomes)
    assert outcomes[-1] == "failed"
    assert set(outcomes[:-1]) == {"retried"}
    assert 10 <= len(outcomes) <= 25
    found = (await operator.get(path)).json()
    assert found["disabled_for"] == "failing"


async def test_a_ping_is_tried_once_and_told_of(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    path, secret = await made(operator, receiver.url, "run.final")
    receiver.answering = answer(500)
    asked = await operator.post(f"{path}/ping")
    assert (asked.status_code, asked.json()["topic"]) == (202, "ping")
    (failed,) = await until(lambda: deliveries(operator, path, "failed"))
    assert (failed["tries"], failed["status"]) == (1, 500)
    receiver.answering = answer(204)
    again = await operator.post(f"{path}/deliveries/{failed['delivery']}/redeliver")
    assert again.status_code == 202
    (done,) = await until(lambda: deliveries(operator, path, "delivered"))
    assert done["delivery"] == failed["delivery"] == asked.json()["delivery"]
    whole = (await operator.get(f"{path}/deliveries/{done['delivery']}")).json()
    assert whole["body"].encode() == receiver.received[0].body == receiver.received[1].body
    assert all(is_signed(each, secret) for each in receiver.received)
    unknown = await operator.post(f"{path}/deliveries/msg_{'0' * 32}/redeliver")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")


async def test_deliveries_come_newest_first_in_pages(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    path, _ = await made(operator, receiver.url, "run.final")
    for count in range(1, 4):
        await operator.post(f"{path}/ping")
        await until(lambda count=count: delivered(operator, path, count))  # type: ignore[misc]  # bound
    first = (await operator.get(f"{path}/deliveries", params={"limit": 2})).json()
    rest = (await operator.get(f"{path}/deliveries", params={"after": first["next"]})).json()
    found = [*first["items"], *rest["items"]]
    assert [each["created_at"] for each in found] == sorted(
        (each["created_at"] for each in found), reverse=True
    )
    assert len({each["delivery"] for each in found}) == 3
    assert rest["next"] is None
    assert (await operator.get(f"{path}/deliveries", params={"only": "x"})).status_code == 400


async def delivered(client: httpx.AsyncClient, path: str, count: int) -> bool:
    return len(await deliveries(client, path, "delivered")) == count


async def test_prometheus_reads_how_webhooks_are_taken(
    served: Api, operator: httpx.AsyncClient, receiver: Receiver
) -> None:
    path, _ = await made(operator, receiver.url, "run.provisional")
    receiver.answering = answer(500)
    await a_run(served)
    await receiver.until(1)
    await until(lambda: coded(operator, path, "not-taken"))
    text = (await operator.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['energy_ledger_webhook_deliveries_total{outcome="retried"}']) >= 1
    assert float(values['energy_ledger_webhook_backlog{community="campus"}']) == 1
    assert 0 <= float(values['energy_ledger_webhook_backlog_age_seconds{community="campus"}']) < 20
    assert float(values['energy_ledger_webhooks_disabled{community="campus"}']) == 0

"""A market as people meet it: it settles, waits for its tariff, takes orders, and outlives every end."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.installation import load_installation, reachable
from ledger.bus import Bus
from ledger.bus_users import service_user
from ledger.clock import SystemClock, monotonic_seconds
from ledger.opening import LedgerKeys
from ledger.postgres.connection import Connection
from ledger.projector import Projector
from ledger.services import open_writer
from ledger.settings import Settings
from tests.support.past import INTERVALS, begin_of, live, write_registers, write_settings
from tests.support.place import COMMAND, WAIT_SECONDS, Place, environment
from tests.support.store import owner

BANGKOK = ZoneInfo("Asia/Bangkok")


def until(what: Callable[[], bool], said: Callable[[], str]) -> None:
    """Wait for something that comes to be."""
    end = monotonic_seconds() + WAIT_SECONDS
    while not what():
        assert monotonic_seconds() < end, said()


@pytest.fixture(scope="module")
def place(server_root: Path) -> Iterator[Place]:
    """An installation that trades, runs, and has a tariff that says nothing of these years."""
    folder = server_root / "market"
    folder.mkdir()
    folder.chmod(0o711)
    folder.joinpath("data").mkdir(mode=0o711)
    begin = begin_of(SystemClock().now())
    write_registers(folder, begin)
    with subprocess.Popen(
        [*COMMAND, "simulate", "meters.toml", "--json"],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    ) as meters:  # fmt: skip
        assert meters.stdout is not None
        (line,) = json.loads(meters.stdout.readline())
        config = write_settings(folder, line["port"], with_hole=True)
        asyncio.run(live(folder, config, begin))
        made = Place(folder)
        made.up()
        yield made
        made.end()
        meters.terminate()


def findings(place: Place, what: str, code: int = 0) -> list[dict[str, str]]:
    """What the doctor says of something; it ends with 1 where anything is wrong."""
    command = [*COMMAND, "doctor", "--json"]
    done = subprocess.run(
        command, cwd=place.folder, env=environment(), capture_output=True, check=False, timeout=WAIT_SECONDS
    )
    assert done.returncode == code, done
    return [each for each in json.loads(done.stdout) if each["what"] == what]


# --- a tariff with a hole, and mended --------------------------------------------------------------


def test_a_tariff_with_a_hole_stops_nothing_but_the_settlement(place: Place) -> None:
    until(lambda: "settlement waits" in place.log.read_text(), place.log.read_text)
    assert "tariff-hole" in place.log.read_text()
    assert place.ask("runs") == []
    assert len(place.ask("status")["meters"]) == 2
    (tariff,) = findings(place, "tariff", 1)
    assert tariff["verdict"] == "wrong"
    assert "does not say what holds on" in tariff["found"]
    (settlement,) = findings(place, "settlement", 1)
    assert settlement["found"].startswith("nothing is settled yet; it waits: the tariff flat does not say")


def test_once_the_tariff_is_mended_and_published_it_settles_on(place: Place) -> None:
    tariff = place.folder / "flat.toml"
    tariff.write_text(tariff.read_text().replace("until = 2021-01-01,", ""))
    (market,) = findings(place, "market", 1)
    assert market["found"] == "the book does not have the settings' tariff flat yet"
    assert place.run("provision") == "1 event written\n"
    until(lambda: "settlement goes on" in place.log.read_text(), place.log.read_text)
    (run, *_) = place.ask("runs")
    assert (run["number"], run["kind"]) == (1, "provisional")
    assert run["settled"] in (INTERVALS, INTERVALS + 1), "one more may have closed meanwhile"
    verdicts = {what: findings(place, what)[0]["verdict"] for what in ("market", "tariff", "settlement")}
    assert verdicts == {"market": "well", "tariff": "well", "settlement": "well"}
    waits = [json.loads(each) for each in place.log.read_text().splitlines() if "settlement waits" in each]
    told = [each["what"] for each in waits]
    assert len(told) == len(set(told)) <= 2, "what stands in the way is told once, of two days after midnight"


def test_settling_by_hand_while_a_settler_runs_is_told(place: Place) -> None:
    assert place.run("settle", code=3).startswith("settler-at-work: ")


def test_what_the_book_was_opened_with_is_held_against_the_settings(place: Place) -> None:
    text = place.config.read_text()
    changed = place.folder / "changed.toml"
    changed.write_text(text.replace("[community]\n", "[community]\ninterval_minutes = 30\n"))
    said = place.run("provision", "--config", "changed.toml", code=2)
    assert said.startswith(
        "other-opening: the book of campus was opened with interval_minutes 15, the settings ask for 30"
    )
    assert "where: community.interval_minutes" in said
    told = subprocess.run(
        [*COMMAND, "doctor", "--config", "changed.toml"],
        cwd=place.folder, env=environment(), capture_output=True, text=True, timeout=WAIT_SECONDS,
        check=False,
    )  # fmt: skip
    assert "wrong settings: other-opening: the book of campus was opened with interval_minutes" in told.stdout


# --- orders and agreements -------------------------------------------------------------------------


def day(days: int) -> str:
    """A local midnight to come."""
    return f"{(SystemClock().now() + timedelta(days=days)).astimezone(BANGKOK):%Y-%m-%d}T00:00"


def test_an_order_by_command_stands_in_the_list_until_it_is_cancelled(place: Place) -> None:
    order = ("order", "place", "night", "--building", "house", "--side", "buy", "--limit", "3.20",
             "--until", day(9), "--from", "22:00", "--to", "06:00", "--energy-wh", "500")  # fmt: skip
    assert place.run(*order).startswith("in the book, signed by operator; it counts from ")
    assert place.run(*order, code=2).startswith("name-in-use: ")
    early, night = place.ask("order", "list")
    assert (early["building"], early["order"], early["state"]) == ("sun", "early", "held")
    assert (night["order"], night["state"], night["limit_micro_per_kwh"]) == ("night", "will hold", 3_200_000)
    assert "will hold  house night: buy 500 Wh an interval at 3.20 THB/kWh or less" in place.run(
        "order", "list", "--building", "house"
    )
    soon = ("order", "place", "soon", "--building", "house", "--side", "buy", "--limit", "3")
    closed = place.run(*soon, "--begin", day(0), "--until", day(2), code=2)
    assert re.search(r"^gate-closed: .*\n.*\n.*it can hold from 20..-..-.. ..:.. on", closed)
    place.run("order", "cancel", "night", "--building", "house")
    again = place.run("order", "cancel", "night", "--building", "house", code=2)
    assert again.startswith("unknown-order: ")
    (_, night) = place.ask("order", "list")
    assert night["state"] == "never held"
    assert place.run("order", "cancel", "x", "--building", "hause", code=2).startswith("unknown-building: ")
    for listed in ("order", "agreement"):
        said = place.run(listed, "list", "--building", "hause", code=2)
        assert said.startswith("unknown-building: the book has no building hause")
        assert "did you mean `house`?" in said


def test_a_building_signs_its_agreements_with_its_own_key(place: Place) -> None:
    request = place.run("device", "request", "house", "--role", "building", "--key-file", "house.pem",
                        "--community", "campus")  # fmt: skip
    place.folder.joinpath("house.request").write_text(request)
    by_house = ("--building", "house", "--key-file", "house.pem")
    proposal = ("agreement", "propose", "roof", "--side", "buy", "--partner", "sun", "--price", "2.75",
                "--until", day(30))  # fmt: skip
    assert place.run(*proposal, *by_house, code=2).startswith("unknown-device: ")
    place.run("device", "enrol", "house.request")
    assert "signed by house" in place.run(*proposal, *by_house)
    (roof,) = place.ask("agreement", "list")
    assert (roof["proposer"], roof["state"]) == ("house", "proposed")
    accept = ("agreement", "accept", "roof", "--proposer", "house", "--building")
    assert place.run(*accept, "house", code=2).startswith("not-a-party: ")
    place.run(*accept, "sun")
    (roof,) = place.ask("agreement", "list")
    assert roof["state"] == "will hold"
    assert "buy all at 2.75 THB/kWh from sun" in place.run("agreement", "list")
    place.run("agreement", "end", "roof", "--proposer", "house", *by_house)
    assert place.ask("agreement", "list")[0]["state"] == "never held"
    end = ("agreement", "end", "roof", "--proposer", "house", "--building", "sun")
    assert place.run(*end, code=2).startswith("unknown-agreement: ")
    mine = ("order", "place", "x", "--building", "sun", "--side", "sell", "--limit", "1", "--until", day(3))
    assert place.run(*mine, "--key-file", "house.pem", code=2).startswith("unknown-device: ")


FAR = """\
[community]
id = "campus"
zone = "Asia/Bangkok"

[data]
keys = "."

[nats]
url = "{url}"
"""


def test_a_building_far_from_the_store_sends_its_orders_over_the_bus_alone(place: Place) -> None:
    far = place.folder / "far"
    far.mkdir()
    for name in ("house.pem", "data/keys/service.pub"):
        shutil.copy(place.folder / name, far)
    running = json.loads((place.folder / "data" / "running.json").read_bytes())
    far.joinpath("energy-ledger.toml").write_text(FAR.format(**running["nats"]))
    order = ("order", "place", "far", "--building", "house", "--side", "buy", "--limit", "3.5",
             "--until", day(9), "--key-file", "house.pem")  # fmt: skip
    there = Place(far)
    assert there.run(*order, code=2).startswith("bad-cell: from when on it holds has to be said")
    assert there.run(*order, "--begin", day(-1), code=2).startswith("gate-closed: ")
    assert "signed by house" in there.run(*order, "--begin", day(2))
    assert [each["state"] for each in place.ask("order", "list") if each["order"] == "far"] == ["will hold"]


# --- what if -----------------------------------------------------------------------------------------


def test_other_rules_are_tried_on_what_the_book_has(place: Place) -> None:
    place.folder.joinpath("flat-rules.toml").write_text(
        'mechanism = "mid_market_rate"\ninterval_minutes = 15\ncurrency = "THB"\n'
        "retail_micro_per_kwh = 5_000_000\nfeed_in_micro_per_kwh = 1_000_000\n"
    )
    asked = ("what-if", "--begin", day(-1)[:10], "--until", day(2)[:10], "--mechanism", "bill_sharing",
             "--mechanism", "mid_market_rate", "--rules", "flat-rules.toml", "--out", "compared")  # fmt: skip
    found = place.ask(*asked)
    assert list(found["rules"]) == ["as published", "bill_sharing", "mid_market_rate", "flat-rules.toml"]
    assert found["intervals"] >= INTERVALS
    imports = {rules["buildings"]["house"]["import_milliwh"] for rules in found["rules"].values()}
    assert len(imports) == 1, "all count the same energy"
    assert imports.pop() in range(INTERVALS * 1_000_000, found["intervals"] * 1_000_000 + 1)
    for rules in found["rules"].values():
        assert rules["buildings"]["house"]["self_sufficiency_ppm"] in range(500_000, 1_000_001)
    begin = monotonic_seconds()
    ever = place.ask(
        "what-if", "--begin", "2001-01-01", "--until", "2198-12-31", "--mechanism", "bill_sharing"
    )
    assert monotonic_seconds() - begin < 20, "days of which the book has nothing cost nothing"
    assert ever["intervals"] >= found["intervals"]
    assert any(note.startswith("the book has no energy of 6,9") for note in ever["notes"])
    shown = place.run(*asked)
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith("note: "))
    assert "4  flat-rules.toml (mid_market_rate): " in shown
    assert place.folder.joinpath("compared", "comparison.csv").is_file()
    empty = place.run("what-if", "--begin", "2020-01-01", "--until", "2020-02-01", "--rules",
                      "flat-rules.toml", code=2)  # fmt: skip
    assert empty.startswith("nothing-to-compare: ")
    for begin_day, until_day in (("0001-01-01", "2026-07-01"), ("2026-06-01", "9999-12-31")):
        never = place.run("what-if", "--begin", begin_day, "--until", until_day, "--rules", "flat-rules.toml",
                          code=2)  # fmt: skip
        assert never.startswith("nothing-to-compare: no book has anything of ")


# --- accounts and documents --------------------------------------------------------------------------


def test_a_building_reads_its_statement_and_all_balances_come_to_nothing(place: Place) -> None:
    month = day(0)[:7]
    told = place.ask("statement", "house", month)
    assert (told["building"], told["charges_micro"], told["documents"]) == ("house", None, [])
    days = told["days"]
    assert all(each["bought_milliwh"] > 0 for each in days)
    assert sum(each["cost_micro"] for each in days) == told["total"]["cost_micro"] == told["unbilled_micro"]
    shown = place.run("statement", "house", month, "--file", "house.csv")
    assert all(len(line) <= 80 for line in shown.splitlines()[1:])
    assert "its part of the campus's charges: come when the month is closed" in shown
    header, *lines = (place.folder / "house.csv").read_text().splitlines()
    assert header == (
        "day,grid_import_kwh,bought_kwh,sold_kwh,grid_export_kwh,grid_cost,paid,fees,loss,earned,grid_income,pays"
    )
    for line in lines:
        *pays, earned, income, cost = map(Decimal, line.split(",")[5:])
        assert sum(pays) - earned - income == cost
    assert len(lines) == len(days)
    assert place.run("statement", "hose", month, code=2).startswith("unknown-building: ")
    assert place.run("statement", "house", "June", code=2).startswith("not-a-month: ")
    balances = place.ask("balances")
    assert {each["account"] for each in balances} >= {"building/house", "building/sun", "grid"}
    assert [sum(each[name] for each in balances) for name in ("energy_milliwh", "amount_micro")] == [0, 0]
    assert "sum" in place.run("balances", month)


def test_a_month_of_which_nothing_is_settled_says_so_and_writes_nothing(place: Place) -> None:
    for command in ("journal", "balances"):
        assert place.run(command, "2020-01") == "nothing is settled in 2020-01 yet\n"
    assert not (place.folder / "journal-2020-01.csv").exists()


def test_drafts_are_shown_before_a_month_is_closed_and_nothing_is_issued(place: Place) -> None:
    month = day(0)[:7]
    shown = place.run("invoices", month)
    assert f"documents written to preview-{month}" in shown
    assert "(Asia/Bangkok); more will come" in shown
    assert (place.folder / f"preview-{month}" / "preview-house.pdf").read_bytes().startswith(b"%PDF")
    refused = place.run("invoices", month, "--issue", code=2)
    assert refused.startswith("not-settled: ")
    assert "`final_days`" in refused
    assert place.run("credit", "campus-2026-000001", "--reason", "x", code=2).startswith("unknown-document: ")


# --- every end -------------------------------------------------------------------------------------


def test_runs_outlive_a_stop_and_a_kill_of_everything(place: Place) -> None:
    before = place.ask("runs")
    assert place.down() == 0
    place.up()
    assert place.ask("runs")[: len(before)] == before
    place.end()
    place.up()
    until(lambda: place.ask("runs")[: len(before)] == before, place.log.read_text)
    listed = place.run("runs")
    assert all(len(line) <= 80 for line in listed.splitlines())
    assert before[0]["result"][:8] in listed
    book = place.folder / "campus.jsonl"
    place.run("export", "--out", str(book))
    place.run("verify", str(book))
    told = re.findall(r'"number":(\d+),[^{}]*"type":"settlement-run/1"', book.read_text())
    numbers = [int(number) for number in told]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == len(place.ask("runs"))
    (settlement,) = findings(place, "settlement")
    assert settlement["verdict"] == "well"


# --- a settler that is killed, and two at once -----------------------------------------------------


class Settlers:
    """Settlers of one community, each a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [*COMMAND, "settler"], cwd=self._folder, env=environment(), stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(WAIT_SECONDS)

    def said(self, name: str) -> str:
        return self._log(name).read_text()

    def end(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


async def becomes(what: Callable[[], Any], said: Callable[[], str] = str) -> None:
    """Wait for something that comes to be, while what runs in this process goes on."""
    end = monotonic_seconds() + WAIT_SECONDS
    while not (found := what()) or (asyncio.iscoroutine(found) and not await found):
        assert monotonic_seconds() < end, said()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[None]:
    """A writer, as long as the block."""
    keys, stop = LedgerKeys.load_or_create(settings.keys_folder), asyncio.Event()
    async with await Bus.connect(settings.nats, "writer", service_user(settings, "writer")) as bus:
        await bus.ensure_stream()
        writer = await open_writer(settings, keys)
        task = asyncio.create_task(writer.run(bus, stop))
        try:
            yield
        finally:
            stop.set()
            await task
            await writer.book.close()


@asynccontextmanager
async def projected(settings: Settings) -> AsyncIterator[Projector]:
    projector = Projector(settings.postgres)
    await projector.open()
    await projector.catch_up()
    yield projector
    await projector.close()


async def count(connection: Connection, query: str) -> int:
    found: int = await connection.fetchval(f"SELECT count(*) FROM {query}")  # noqa: S608 - our own tables
    return found


RECORDED = "book.events WHERE stream = 'settlement'"
WAITING = "pg_locks WHERE NOT granted"


async def test_a_settler_killed_before_its_event_and_two_at_once_make_one_run(server_folder: Path) -> None:
    folder = server_folder
    folder.mkdir(mode=0o711)
    folder.joinpath("data").mkdir(mode=0o711)
    begin = begin_of(SystemClock().now())
    write_registers(folder, begin)
    config = write_settings(folder, port=1)
    await live(folder, config, begin)
    settlers = Settlers(folder)
    try:
        async with (
            reachable(load_installation(config, {}).book) as (settings, _),
            projected(settings) as projector,
            owner(settings.postgres) as store,
        ):
            await _kill_between_rows_and_event(settings, store, settlers)
            assert await count(store, "settlement.runs") == 1
            assert await count(store, RECORDED) == 0
            async with writing(settings):
                await _two_at_once(settlers)
                await projector.catch_up()
            assert await count(store, "settlement.runs") == 1
            assert await count(store, RECORDED) == 1
            assert await count(store, "book.quarantine") == 0
            assert await count(store, "settlement.intervals") == INTERVALS
            unbalanced = "(SELECT FROM settlement.postings GROUP BY start HAVING sum(amount_micro) <> 0) x"
            assert await count(store, unbalanced) == 0
    finally:
        settlers.end()


async def _kill_between_rows_and_event(settings: Settings, store: Connection, settlers: Settlers) -> None:
    """Hold the run's row back until there is no writer that could take its event."""
    transaction = store.transaction()
    await transaction.start()
    await store.execute("LOCK TABLE settlement.runs IN EXCLUSIVE MODE")
    async with writing(settings):
        settlers.start("first")

        async def waits() -> bool:
            return await count(store, WAITING) > 0

        await becomes(waits, lambda: settlers.said("first"))
    await transaction.rollback()

    async def is_there() -> bool:
        return await count(store, "settlement.runs") > 0

    await becomes(is_there, lambda: settlers.said("first"))
    settlers.kill("first")


async def _two_at_once(settlers: Settlers) -> None:
    """One works and the other waits, and says so; when the first is killed the other takes over."""
    for name in ("second", "third"):
        settlers.start(name)

    def said() -> str:
        return f"{settlers.said('second')}\n{settlers.said('third')}"

    await becomes(lambda: '"settled"' in said() and "settler-at-work" in said(), said)
    waits, works = sorted(("second", "third"), key=lambda name: '"settled"' in settlers.said(name))
    assert "settler-at-work" in settlers.said(waits)
    assert "settler-at-work" not in settlers.said(works)
    settlers.kill(works)
    await becomes(lambda: "settlement goes on" in settlers.said(waits), said)

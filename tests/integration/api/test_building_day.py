"""A building's day, by a client that knows the API's description and nothing else: a meter is enrolled and
sends, an order is placed, a trade is seen, an invoice is fetched and followed down to signed readings.
"""

import ast
import json
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.events import BuildingAdded, MeterAdded, MeterAssigned
from tests.support import client as client_package
from tests.support.api import Api, api
from tests.support.billing import SELLER, be_on
from tests.support.campus import GATEWAY, MORNING, QUARTER
from tests.support.client.described import Client, NotDescribed, Refused
from tests.support.client.signed import (
    Device,
    LogKey,
    NotProven,
    canonical,
    entry_hash,
    hash_of,
    read_receipt,
)
from tests.support.devices import tell
from tests.support.store import migrated
from tests.support.trading import DAY, HOUR

OURS = {"ledger", "ingest", "settlement", "contracts", "api"}
ROOF = "roof"
STREAM = "meter/wifi-1"
AT = {"community": "campus"}
OWN = {**AT, "building": ROOF}


class Day(NamedTuple):
    """A served campus, and those who come to it."""

    served: Api
    document: dict[str, Any]
    anybody: Client
    roof: Client
    operator: Client
    billing: Client
    auditor: Client
    log: LogKey
    meter: Device


@pytest.fixture(scope="module")
async def day(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Day]:
    dsn = await postgres_server.create_database("building_day")
    await migrated(dsn)
    async with api(dsn, nats_server, tmp_path_factory.mktemp("api")) as found:
        found.backend.billing = SELLER
        found.backend.clock = found.site.ledgers_clock
        await found.site.projector.catch_up()
        async with httpx.AsyncClient(base_url=found.address, timeout=30) as http:
            document = (await http.get("/v1/openapi.json")).json()
            anybody = Client(http, document)
            yield Day(
                found,
                document,
                anybody,
                anybody.keyed(await found.token("building", ROOF)),
                anybody.keyed(await found.token("operator")),
                anybody.keyed(await found.token("billing")),
                anybody.keyed(await found.token("auditor")),
                LogKey.parse(str(found.site.campus.verifier)),
                Device("campus", "wifi-1"),
            )


async def grid(day: Day) -> None:
    """What the operator tells the book by the command line: the building, its meter, and who reads that."""
    since = MORNING - DAY
    await tell(
        day.served,
        BuildingAdded(building=ROOF, feeder="f-1", name="Roof"),
        MeterAdded(meter="wifi-1", role="connection", model="x", rated_w=69_000, since=since, building=ROOF),
        MeterAssigned(meter="wifi-1", device="wifi-1", since=since),
        MeterAdded(meter="m-main", role="main", model="x", rated_w=1_000_000, since=since),
        MeterAssigned(meter="m-main", device=GATEWAY, since=since),
    )


def read(quarter: int, export_wh: int) -> dict[str, Any]:
    """A reading, as the description tells its body."""
    at = (MORNING + quarter * QUARTER).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "meter-read/1", "import_wh": 0, "export_wh": export_wh, "measured_at": at,
        "quality": "measured", "salt": f"{quarter:016}",
    }  # fmt: skip


async def test_a_building_enrols_sends_orders_trades_is_billed_and_proves_it_all(day: Day) -> None:
    await enrolled(day)
    order = await ordered(day)
    await sent(day)
    await traded(day, order)
    number = await billed(day)
    await proven(day, number)


async def enrolled(day: Day) -> None:
    """By a token that counts once."""
    wanted = {"device": "wifi-1", "role": "meter"}
    given = (await day.operator.call("devices_give_token", wanted, **AT)).told
    body = {"token": given["token"], "request": day.meter.enrolment("meter")}
    told = (await day.anybody.call("devices_enrol", body, **AT)).told
    day.meter.service_key = bytes.fromhex(told["service_key"])
    other = Device("campus", "wifi-1")
    with pytest.raises(Refused) as refused:
        await day.anybody.call("devices_enrol", {**body, "request": other.enrolment("meter")}, **AT)
    assert refused.value.answer.told["code"] == "token-used"
    await grid(day)
    heads = (await day.anybody.call("devices_heads", device="wifi-1", **AT)).told
    assert day.meter.take(heads, None) == "heads"
    assert day.meter.heads[STREAM] == (0, "0" * 64)


async def ordered(day: Day) -> Any:
    """An order that is sent twice is placed once."""
    wanted = {"side": "sell", "limit": "3.00", "until": "2026-07-01T00:00:00Z"}
    again = {"Idempotency-Key": "the first of June"}
    first = await day.roof.call("orders_place", wanted, **OWN, **again)
    second = await day.roof.call("orders_place", wanted, **OWN, **again)
    assert (first.status, first.told) == (201, second.told)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (await day.roof.pages("orders_orders", **OWN)) == [first.told["order"]]
    return first.told


async def sent(day: Day) -> None:
    """An hour's readings; a receipt that is lost costs nothing, and a forged one is none."""
    await day.served.site.ledgers_clock.sleep_until(MORNING + DAY)
    envelope = day.meter.envelope(STREAM, [read(quarter, 2_000 * quarter) for quarter in range(5)])
    before = dict(day.meter.heads)
    receipt = (await day.anybody.call("devices_envelopes", envelope, **AT)).told
    assert day.meter.take(receipt, envelope) == "recorded"
    again = (await day.anybody.call("devices_envelopes", envelope, **AT)).told
    assert day.meter.take(again, envelope) == "duplicate"
    forged = {**receipt, "answer": {**receipt["answer"], "code": "duplicate"}}
    with pytest.raises(NotProven):
        day.meter.take(forged, envelope)
    day.meter.heads = before
    refused = day.meter.envelope(STREAM, [read(0, 7)])
    answer = await day.anybody.call("devices_envelopes", refused, **AT)
    assert (answer.status, day.meter.take(answer.told, refused)) == (409, "fork")
    assert day.meter.heads[STREAM][0] == 5


async def traded(day: Day, order: Any) -> None:
    """The others take what the roof gives from when its order counts, at its price or better."""
    site = day.served.site
    await others_read(day, *range(5))
    await site.clock.sleep_until(MORNING + HOUR)
    await site.settle()
    span = {"begin": "2026-06-01T00:00:00Z", "until": "2026-06-02T00:00:00Z"}
    trades = await day.roof.pages("buildings_trades", **OWN, **span, limit=2)
    assert {trade["side"] for trade in trades} == {"sell"}
    assert {trade["partner"] for trade in trades} == {"b-2", "b-3"}
    assert sum(trade["energy_milliwh"] for trade in trades) == 4 * 2_000_000
    since = instant(order["receipt"]["counts_from"])
    assert all(
        trade["price"]["micro_per_kwh"] >= 3_000_000 for trade in trades if instant(trade["start"]) >= since
    )
    intervals = await day.roof.pages("buildings_intervals", **OWN, **span)
    assert [each["export_wh"] for each in intervals if each["quality"] == "measured"] == [2_000] * 4
    assert (await day.roof.call("buildings_power", **OWN)).told["building"] == ROOF


async def others_read(day: Day, *quarters: int) -> None:
    """The gateway's meters: two buildings take 1 and 3 kWh a quarter, one nothing, and a little is lost."""
    for meter, import_wh in {"m-0": 0, "m-1": 1_000, "m-2": 3_000, "m-main": 2_020}.items():
        await day.served.site.read(meter, *((quarter, import_wh * quarter, 0) for quarter in quarters))


async def billed(day: Day) -> str:
    """June is billed in July; the building gets its document as JSON and printed."""
    await others_read(day, 5)
    envelope = day.meter.envelope(STREAM, [read(5, 2_000 * 5)])
    receipt = (await day.anybody.call("devices_envelopes", envelope, **AT)).told
    assert day.meter.take(receipt, envelope) == "recorded"
    await be_on(day.served.site, date(2026, 7, 2))
    await day.served.site.settle()
    await day.billing.call("billing_issue", month="2026-06", **AT)
    await day.served.site.projector.catch_up()
    (listed,) = await day.roof.pages("buildings_invoices", **OWN)
    number: str = listed["number"]
    answer = await day.roof.call("buildings_invoice", **OWN, number=number)
    assert hash_of(answer.content) == listed["code"]
    assert canonical(answer.told) == answer.content
    assert sum(line["amount_micro"] for line in answer.told["lines"]) == listed["total"]["micro"]
    printed = await day.roof.call("buildings_invoice", **OWN, number=f"{number}.pdf")
    assert (printed.media_type, printed.content[:5]) == ("application/pdf", b"%PDF-")
    return number


async def proven(day: Day, number: str) -> None:
    """From the document in the log, over the line of what was sold, to the readings in the log."""
    document = (await day.roof.call("buildings_invoice", **OWN, number=number)).content
    await in_the_book(day, number, document)
    lines = {line["kind"]: line for line in json.loads(document)["lines"]}
    sold = lines["sold"]
    span = {name: sold[name] for name in ("begin", "until")}
    trades = await day.roof.pages("buildings_trades", **OWN, **span)
    assert sold["energy_milliwh"] == sum(trade["energy_milliwh"] for trade in trades)
    assert -sold["amount_micro"] == sum(trade["amount"]["micro"] for trade in trades)
    readings = await proven_readings(day)
    by_time = {instant(reading["measured_at"]): reading["export_wh"] for reading in readings}
    starts = {instant(trade["start"]) for trade in trades}
    metered_wh = sum(by_time[start + QUARTER] - by_time[start] for start in starts)
    exported = lines.get("grid-export", {"energy_milliwh": 0})
    assert 1_000 * metered_wh == sold["energy_milliwh"] + exported["energy_milliwh"]


async def in_the_book(day: Day, number: str, document: bytes) -> None:
    """The building finds its document in an event of the book, whose entry hash the log proves; an auditor
    finds the same event there, and who signed it."""
    held = (await day.roof.call("buildings_invoice_proof", **OWN, number=number)).told
    link = held["event"]
    event = json.loads(link["body"])
    assert (event["type"], event["number"]) == ("invoice-issued/1", number)
    assert (event["document"].encode(), event["code"]) == (document, hash_of(document))
    leaf = entry_hash("campus", held["stream"], link["sequence"], link["previous"], link["body"].encode())
    assert leaf == link["hash"]
    assert day.log.place(held["proof"], leaf) == link["position"]
    (entry,) = [
        entry for entry in await day.auditor.pages("audit_entries", **AT, name="settlement", limit=2)
        if entry["sequence"] == link["sequence"]
    ]  # fmt: skip
    assert (entry["entry_hash"], entry["body"]) == (link["hash"], link["body"])
    envelope = (await day.auditor.call("audit_envelope", **AT, position=entry["envelope"])).told
    assert envelope["public_key"] == day.meter.service_key.hex(), "it was signed by the ledger's own key"


async def proven_readings(day: Day) -> list[Any]:
    """The readings of the meter, whose chain leads to its head, each in the log that the checkpoint signs."""
    size, _ = day.log.open((await day.roof.call("log_checkpoint", **AT)).content.decode())
    (meter,) = await day.roof.pages("buildings_meters", **OWN)
    chain, after = [], ""
    while after is not None:
        page = await day.roof.call("buildings_chain", **OWN, meter="wifi-1", limit=3, after=after)
        chain += page.told["items"]
        after = page.told["next"]
    head = "0" * 64
    for number, link in enumerate(chain, 1):
        head = entry_hash("campus", STREAM, number, head, link["body"].encode())
        assert link["hash"] == head
        proof = await day.roof.call("log_inclusion", **AT, stream=STREAM, sequence=number)
        assert day.log.place(proof.content.decode(), head) == link["position"] < size
        with pytest.raises(NotProven):
            day.log.place(proof.content.decode(), hash_of(b"another"))
    assert day.meter.heads[STREAM] == (len(chain), head)
    assert meter["head"] == {"sequence": len(chain), "hash": head}
    return [json.loads(link["body"]) for link in chain]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_the_examples_fit_and_are_signed_as_the_description_says(day: Day) -> None:
    wrong = {where: found for where, found in day.anybody.examples() if found}
    assert wrong == {}
    paths = day.document["paths"]
    device = Device("campus", "wifi-1", key("example device"), public(key("example ledger")))
    sending = paths["/v1/communities/{community}/envelopes"]["post"]
    shown = sending["requestBody"]["content"]["application/json"]["example"]
    (run,) = shown["runs"]
    envelope = device.envelope(run["stream"], run["bodies"])
    assert json.loads(envelope) == shown
    receipt = sending["responses"]["200"]["content"]["application/json"]["example"]
    assert device.take(receipt, envelope) == "recorded"
    heads = paths["/v1/communities/{community}/devices/{device}/heads"]["get"]["responses"]["200"]
    answer = read_receipt(heads["content"]["application/json"]["example"], "campus", device.service_key)
    assert answer["code"] == "heads"
    enrolling = paths["/v1/communities/{community}/devices/enrol"]["post"]["requestBody"]
    assert enrolling["content"]["application/json"]["example"]["request"] == device.enrolment("meter")


@pytest.mark.parametrize(
    "less",
    [
        lambda answer: answer["headers"].pop("ETag"),
        lambda answer: answer["headers"].update({"X-Missing": {"required": True, "schema": {}}}),
        lambda answer: answer["content"].update({"text/csv": answer["content"].pop("application/json")}),
        lambda answer: answer["content"]["application/json"].update(schema={"type": "array"}),
    ],
)
async def test_what_is_not_described_is_found(day: Day, less: Callable[[Any], Any]) -> None:
    document = deepcopy(day.document)
    path = "/v1/communities/{community}/buildings"
    assert (await day.operator.call("buildings_buildings", **AT)).told["items"]
    less(document["paths"][path]["get"]["responses"]["200"])
    async with httpx.AsyncClient(base_url=day.served.address) as http:
        client = Client(http, document, await day.served.token("operator"))
        with pytest.raises(NotDescribed):
            await client.call("buildings_buildings", **AT)
        with pytest.raises(NotDescribed):
            await client.call("buildings_buildings", **AT, limit=0)
        with pytest.raises(NotDescribed):
            await client.call("buildings_buildings", **AT, page=2)
        with pytest.raises(NotDescribed):
            await client.keyed("").call("buildings_buildings", **AT)


def key(words: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(hash_of(words.encode())))


def public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def test_the_client_knows_nothing_of_the_project() -> None:
    files = list(Path(client_package.__path__[0]).glob("**/*.py"))
    assert len(files) > 2
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            assert not roots & (OURS | {"tests"}), f"{path.name}, line {getattr(node, 'lineno', 0)}"

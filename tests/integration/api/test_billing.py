"""Billing over the API: runs and documents in every form, and a month that is billed once and for good."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import date
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from api.http.routes.billing import issue_month
from ledger.embedded import EmbeddedNats
from ledger.postgres.lent import lent_store
from tests.support.api import V1, Api, api
from tests.support.billing import SELLER, four_quarters_of_june
from tests.support.store import owner

JUNE = f"{V1}/months/2026-06"


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    """A campus whose June is closed."""
    async with api(database, nats_server, tmp_path) as found:
        found.backend.billing = SELLER
        await four_quarters_of_june(found.site)
        yield found


@pytest.fixture
async def billing(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("billing") as client:
        yield client


async def issued(billing: httpx.AsyncClient) -> list[str]:
    answer = await billing.post(f"{JUNE}/issue")
    assert answer.status_code == 201, answer.text
    numbers: list[str] = answer.json()["numbers"]
    return numbers


async def test_runs_come_in_pages_and_one_by_one(served: Api, billing: httpx.AsyncClient) -> None:
    first = (await billing.get(f"{V1}/runs", params={"limit": 1})).json()
    rest = (await billing.get(f"{V1}/runs", params={"after": first["next"]})).json()
    runs = [*first["items"], *rest["items"]]
    assert [each["number"] for each in runs] == list(range(1, len(runs) + 1))
    assert runs[0]["kind"] == "provisional"
    assert len(bytes.fromhex(runs[0]["root"] + runs[0]["rules"] + runs[0]["result"])) == 96
    assert (await billing.get(f"{V1}/runs/1")).json() == runs[0]
    unknown = await billing.get(f"{V1}/runs/999")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
    assert (await billing.get(f"{V1}/runs/{2**80}")).status_code == 400
    async with served.client("auditor") as auditor:
        assert (await auditor.get(f"{V1}/runs/1")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/invoices"), ("GET", "/invoices/campus-2026-000001"), ("GET", "/months/2026-06/preview"),
        ("GET", "/months/2026-06/journal"), ("GET", "/months/2026-06/balances"),
        ("GET", "/months/2026-06/invoices.csv"), ("GET", "/months/2026-06/lines.csv"),
        ("GET", "/months/2026-06/invoices.xlsx"), ("POST", "/months/2026-06/issue"),
        ("POST", "/invoices/campus-2026-000001/credit"),
    ],
)  # fmt: skip
async def test_billing_is_for_billing_and_operators(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, method: str, path: str
) -> None:
    async with api(database, nats_server, tmp_path) as found:
        for role, building in (("auditor", None), ("building", "b-1")):
            async with found.client(role, building) as client:  # type: ignore[arg-type]  # both are roles
                answer = await client.request(method, f"{V1}{path}", json={"reason": "x"})
            assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")


@pytest.mark.parametrize(
    "path", ["preview", "journal", "journal.csv", "balances", "invoices.csv", "lines.csv"]
)
async def test_a_month_that_is_none_is_told_so(billing: httpx.AsyncClient, path: str) -> None:
    for month in ("2026-13", "june", "2026-6", "0000-01"):
        answer = await billing.get(f"{V1}/months/{month}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "not-a-month")


async def test_a_preview_is_what_is_issued_and_keeps_nothing(billing: httpx.AsyncClient) -> None:
    preview = (await billing.get(f"{JUNE}/preview")).json()
    assert [each["building"] for each in preview["drafts"]] == ["b-1", "b-2", "b-3"]
    assert (await billing.get(f"{V1}/invoices")).json() == {"items": [], "next": None}
    assert await issued(billing) == ["campus-2026-000001", "campus-2026-000002", "campus-2026-000003"]
    listed = (await billing.get(f"{V1}/invoices", params={"month": "2026-06"})).json()["items"]
    assert [each["total"] for each in listed] == [each["total"] for each in preview["drafts"]]
    assert (await billing.get(f"{JUNE}/preview")).json()["drafts"] == []
    assert (await billing.get(f"{V1}/invoices", params={"month": "2026-07"})).json()["items"] == []


async def test_documents_come_in_pages(billing: httpx.AsyncClient) -> None:
    numbers, after, found = await issued(billing), "", []
    while True:
        page = (await billing.get(f"{V1}/invoices", params={"limit": 2, "after": after})).json()
        found += [each["number"] for each in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert found == numbers


async def test_a_document_is_the_record_that_its_code_is_the_digest_of(billing: httpx.AsyncClient) -> None:
    number = (await issued(billing))[0]
    answer = await billing.get(f"{V1}/invoices/{number}")
    code = sha256(answer.content).hexdigest()
    assert (answer.headers["etag"], answer.json()["number"]) == (f'W/"{code}"', number)
    again = await billing.get(f"{V1}/invoices/{number}", headers={"If-None-Match": f'W/"{code}"'})
    assert (again.status_code, again.content) == (304, b"")
    listed = (await billing.get(f"{V1}/invoices")).json()["items"]
    assert listed[0]["code"] == code
    pdf = await billing.get(f"{V1}/invoices/{number}.pdf")
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    for path in ("campus-2026-000099", "campus-2026-000099.pdf", 'x"', "%00"):
        unknown = await billing.get(f"{V1}/invoices/{path}")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")


async def test_a_months_files_have_what_was_issued(billing: httpx.AsyncClient) -> None:
    assert len((await billing.get(f"{JUNE}/invoices.csv")).text.splitlines()) == 1
    numbers = await issued(billing)
    rows = list(csv.DictReader(io.StringIO((await billing.get(f"{JUNE}/invoices.csv")).text)))
    assert [row["number"] for row in rows] == numbers
    lines = list(csv.DictReader(io.StringIO((await billing.get(f"{JUNE}/lines.csv")).text)))
    assert {row["number"] for row in lines} == set(numbers)
    for path in ("invoices.xlsx", "journal.xlsx"):
        workbook = await billing.get(f"{JUNE}/{path}")
        assert "xl/workbook.xml" in ZipFile(io.BytesIO(workbook.content)).namelist()
        assert (await billing.get(f"{JUNE}/{path}")).headers["etag"] == workbook.headers["etag"]


async def test_the_journal_balances_and_so_do_the_accounts(billing: httpx.AsyncClient) -> None:
    *rows, total = (await billing.get(f"{JUNE}/journal")).json()
    assert total["debit"] == total["credit"]
    assert sum(row["debit"]["micro"] for row in rows) == total["debit"]["micro"] > 0
    balances = (await billing.get(f"{JUNE}/balances")).json()
    assert (
        sum(row["amount"]["micro"] for row in balances) == sum(row["energy_milliwh"] for row in balances) == 0
    )
    text = (await billing.get(f"{JUNE}/journal.csv")).text
    assert len(text.splitlines()) == len(rows) + 2


async def test_a_month_is_issued_once(billing: httpx.AsyncClient) -> None:
    await issued(billing)
    again = await billing.post(f"{JUNE}/issue")
    assert (again.status_code, again.json()["code"]) == (409, "already-issued")
    assert len((await billing.get(f"{V1}/invoices")).json()["items"]) == 3


async def test_of_two_who_issue_at_once_one_does(billing: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(billing.post(f"{JUNE}/issue") for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert len((await billing.get(f"{V1}/invoices")).json()["items"]) == 3


async def test_the_same_request_again_is_answered_the_same(billing: httpx.AsyncClient) -> None:
    first, again = [
        await billing.post(f"{JUNE}/issue", headers={"Idempotency-Key": "june"}) for _ in range(2)
    ]
    assert (first.status_code, first.content) == (again.status_code, again.content) == (201, first.content)


async def test_a_month_that_is_open_is_not_issued(billing: httpx.AsyncClient) -> None:
    for month in ("2026-07", "2999-12"):
        answer = await billing.post(f"{V1}/months/{month}/issue")
        assert (answer.status_code, answer.json()["code"]) == (409, "not-settled")


async def test_where_there_is_nothing_to_bill_nothing_is_issued(billing: httpx.AsyncClient) -> None:
    answer = await billing.post(f"{V1}/months/2026-05/issue")
    assert (answer.status_code, answer.json()) == (200, {"month": "2026-05", "numbers": [], "refused": []})


async def test_a_tax_is_not_shown_without_a_tax_id(served: Api, billing: httpx.AsyncClient) -> None:
    served.backend.billing = type(SELLER)()
    answer = await billing.post(f"{JUNE}/issue")
    assert (answer.status_code, answer.json()["code"]) == (422, "tax-id-missing")


async def test_an_invoice_is_cancelled_once_and_its_building_billed_again(billing: httpx.AsyncClient) -> None:
    number = (await issued(billing))[1]
    note = await billing.post(f"{V1}/invoices/{number}/credit", json={"reason": "the wrong name"})
    assert note.status_code == 201
    assert (note.json()["cancels"], note.json()["reason"]) == (number, "the wrong name")
    again = await billing.post(f"{V1}/invoices/{number}/credit", json={"reason": "the wrong name"})
    assert (again.status_code, again.json()["code"]) == (409, "already-cancelled")
    assert await issued(billing) == ["campus-2026-000005"]


async def test_a_credit_note_needs_an_invoice_and_a_reason(billing: httpx.AsyncClient) -> None:
    (number, *_) = await issued(billing)
    unknown = await billing.post(f"{V1}/invoices/campus-2026-000099/credit", json={"reason": "x"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-document")
    silent = await billing.post(f"{V1}/invoices/{number}/credit", json={"reason": " "})
    assert (silent.status_code, silent.json()["code"]) == (422, "reason-invalid")
    for body in ({}, {"reason": "x", "amount": 1}, {"reason": "x" * 201}):
        assert (await billing.post(f"{V1}/invoices/{number}/credit", json=body)).status_code == 400


LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
"""


async def left_behind(served: Api) -> tuple[int, int]:
    """Locks of sessions and open transactions, when servers had a moment to notice who has gone."""
    async with owner(served.site.store) as connection:
        for _ in range(50):
            left = await connection.fetchval(LOCKS), await connection.fetchval(IN_TRANSACTION)
            if left == (0, 0):
                break
            await asyncio.sleep(0.05)
        return left


async def test_whoever_is_interrupted_in_a_turn_leaves_neither_lock_nor_transaction(served: Api) -> None:
    inside = asyncio.Event()

    async def held() -> None:
        async with (
            lent_store(served.backend.pool) as store,
            store.turn("campus"),
            store.transaction("campus"),
        ):
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(held())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left_behind(served) == (0, 0)


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.01, 0.03, 0.1])
async def test_whoever_is_interrupted_while_issuing_leaves_the_next_one_free(
    served: Api, billing: httpx.AsyncClient, delay: float
) -> None:
    backend = served.backend
    task = asyncio.create_task(backend.recorder.unbroken(issue_month(backend, date(2026, 6, 1))))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await billing.post(f"{JUNE}/issue")).json()["code"] == "already-issued"
    assert await left_behind(served) == (0, 0)
    assert len((await billing.get(f"{V1}/invoices")).json()["items"]) == 3


async def test_a_refused_issue_gives_its_turn_back(served: Api, billing: httpx.AsyncClient) -> None:
    await issued(billing)
    for _ in range(10):
        assert (await billing.post(f"{JUNE}/issue")).status_code == 409
    assert await left_behind(served) == (0, 0)

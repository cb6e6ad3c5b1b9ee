"""Webhooks without store and network: sealing, the schedule of tries, and the bytes that are told."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.seal import SealBroken
from api.webhooks.messages import Telling
from api.webhooks.schedule import DELAY_MAX, SPAN, again_at, asked_for
from api.webhooks.sealing import Sealed, WebhookSeal
from ledger.canonical import encode
from ledger.keys import SigningKey
from ledger.market_events import SettlementRun
from ledger.postgres.webhook_outbox import AlarmTold, ForkTold, SettledRow
from ledger.webhooks import FOR_OPERATORS, TOPICS, Webhook, delivery_id, topics_for

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SERVICE = SigningKey(b"s" * 32)
SEALED = Sealed("https://hooks.example.org/T0KEN", "whsec_AAAA", "whsec_BBBB", NOW)


# --- sealing -------------------------------------------------------------------------------------------


def test_what_was_sealed_opens_with_the_same_service_key_for_the_same_webhook() -> None:
    sealed = WebhookSeal("campus", SERVICE).close("wh_1", SEALED)
    assert WebhookSeal("campus", SERVICE).open("wh_1", sealed) == SEALED
    assert b"T0KEN" not in sealed
    assert sealed != WebhookSeal("campus", SERVICE).close("wh_1", SEALED)


@pytest.mark.parametrize(
    ("community", "key", "webhook", "change"),
    [
        ("campus", b"t", "wh_1", lambda sealed: sealed),
        ("elsewhere", b"s", "wh_1", lambda sealed: sealed),
        ("campus", b"s", "wh_2", lambda sealed: sealed),
        ("campus", b"s", "wh_1", lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1])),
        ("campus", b"s", "wh_1", lambda sealed: sealed[:20]),
        ("campus", b"s", "wh_1", lambda _: b""),
    ],
)
def test_nothing_else_opens_it(community: str, key: bytes, webhook: str, change: object) -> None:
    sealed = WebhookSeal("campus", SERVICE).close("wh_1", SEALED)
    with pytest.raises(SealBroken) as broken:
        WebhookSeal(community, SigningKey(key * 32)).open(webhook, change(sealed))  # type: ignore[operator]  # one of above
    assert "whsec" not in broken.value.diagnostics()


def test_a_secret_that_was_replaced_counts_until_its_instant() -> None:
    assert SEALED.held(NOW - timedelta(seconds=1)) == ["whsec_AAAA", "whsec_BBBB"]
    assert SEALED.held(NOW) == ["whsec_AAAA"]


# --- the schedule --------------------------------------------------------------------------------------


@given(seed=st.integers())
def test_a_delivery_is_tried_for_three_days_ever_less_often(seed: int) -> None:
    random, tries, now, delays = Random(seed), 1, NOW, []
    while (again := again_at(tries, NOW, now, random)) is not None:
        delays.append(again - now)
        tries, now = tries + 1, again
    assert now - NOW >= SPAN
    assert now - NOW <= SPAN + timedelta(seconds=10)
    assert 10 <= len(delays) <= 25
    assert delays[0] <= timedelta(seconds=6)
    assert max(delays) <= DELAY_MAX * 1.2
    assert all(two > one * 0.9 for one, two in pairwise(delays[:8]))


def test_what_failed_together_does_not_come_back_together() -> None:
    random = Random(1)
    assert len({again_at(9, NOW, NOW, random) for _ in range(100)}) > 20


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("120", 120), ("0", 0), ("999999999", 12 * 3600), ("", None), ("-1", None), ("1.5", None), ("٣", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("9" * 5_000, None)],
)  # fmt: skip
def test_a_receiver_may_ask_for_time(told: str, seconds: int | None) -> None:
    wanted = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert asked_for({"retry-after": told}, NOW) == wanted
    assert asked_for({}, NOW) is None


# --- what is told --------------------------------------------------------------------------------------


def test_the_bytes_that_are_told_of_a_run_are_these() -> None:
    run = SettlementRun(
        number=7, kind="final", begin=NOW, until=NOW + timedelta(days=1), tree_size=99, root="a" * 64,
        rules="b" * 64, result="c" * 64, settled=0,
    )  # fmt: skip
    message = Telling("campus").settled(SettledRow(7, 100, encode(run), NOW))
    assert (message.source, message.topic, message.position) == ("position/100", "run.final", 100)
    assert message.body == (
        b'{"data":{"begin":"2026-06-01T00:00:00Z","community":"campus","kind":"final",'
        b'"link":"/v1/communities/campus/runs/7","number":7,"position":100,"result":"' + b"c" * 64 + b'",'
        b'"revised":0,"settled":0,"tree_size":99,"until":"2026-06-02T00:00:00Z"},'
        b'"timestamp":"2026-06-01T00:00:00Z","type":"run.final"}'
    )


def test_an_id_follows_from_what_is_told_to_whom() -> None:
    assert delivery_id("campus", "wh_1", "position/7") == delivery_id("campus", "wh_1", "position/7")
    ids = {
        delivery_id(community, webhook, source)
        for community in ("campus", "other")
        for webhook in ("wh_1", "wh_2")
        for source in ("ping/1", "ping/2")
    }  # fmt: skip
    assert len(ids) == 8
    assert all(each.startswith("msg_") and "." not in each for each in ids)


def test_alarms_and_forks_tell_no_words_of_a_device() -> None:
    telling = Telling("campus")
    alarm = telling.alarm(AlarmTold(5, "gw-1", "register-jump", "m-1", NOW))
    assert b'"detail"' not in alarm.body
    fork = telling.fork(ForkTold(b"\xab" * 32, "gw-1", "meter/m-1", 3, NOW))
    assert (fork.source, fork.position) == ("fork/" + "ab" * 32, None)
    assert b"/quarantine/" + b"ab" * 32 in fork.body


def test_a_webhook_that_is_disabled_twice_is_told_of_twice() -> None:
    row = Webhook("wh_1", "billing", "p", "", "https://x.example", [], b"", NOW, disabled_at=NOW)
    one = Telling("campus").disabled(row._replace(disabled_for="gone"))
    two = Telling("campus").disabled(row._replace(disabled_for="gone", disabled_at=NOW + timedelta(days=1)))
    assert one.source != two.source


def test_billing_is_told_of_money_and_operators_of_all() -> None:
    assert set(topics_for("operator")) == set(TOPICS)
    assert set(topics_for("billing")) == set(TOPICS) - FOR_OPERATORS

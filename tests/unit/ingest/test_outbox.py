"""What an outbox promises, on a real SQLite file."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.cut import BYTES_MAX, Cut
from ingest.outbox import Outbox, Outgoing
from ingest.outbox_file import OutboxDamaged, OutboxInUse, OutboxUnavailable
from ledger.entry import EMPTY, Head
from ledger.envelope import EVENTS_MAX, read_envelope
from ledger.errors import BadInput
from ledger.receipt import StreamHead
from tests.unit.ingest.site import (
    GATEWAY_KEY,
    OTHER_KEY,
    OWN_STREAM,
    START,
    STREAMS,
    LedgerDouble,
    empty_heads,
    read_body,
    sealer,
    tick,
)

KEY = GATEWAY_KEY.public.id
ELSEWHERE = Head(7, bytes([9]) * 32)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = reopen(tmp_path)
    yield opened
    opened.close()


def reopen(folder: Path) -> Outbox:
    return Outbox.open(folder / "outbox" / "gw-1.db", reserve_bytes=0)


def cut(outbox: Outbox, **narrow: int) -> Cut:
    made = outbox.cut(
        KEY, sealer(), {f"meter/{name.replace('_', '-')}": most for name, most in narrow.items()}
    )
    assert made is not None
    return made


def heads_after(made: Cut) -> list[StreamHead]:
    return [StreamHead.of(run.stream, Head(run.last, run.hash)) for run in made.runs]


def bodies_of(made: Cut) -> list[tuple[str, list[bytes]]]:
    return [(run.stream, [bytes(body) for body in run.bodies]) for run in read_envelope(made.envelope).runs]


def waiting(outbox: Outbox) -> int:
    return outbox.standing().waiting


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    outbox = reopen(tmp_path)
    outbox.append(tick(0), START, {"meter/m-1": b"state"})
    outbox.close()
    again = reopen(tmp_path)
    assert waiting(again) == len(STREAMS)
    assert again.standing().oldest_at == START
    assert again.recall() == {"meter/m-1": b"state"}
    again.close()


def test_nothing_is_cut_for_a_stream_whose_head_the_ledger_has_not_told(outbox: Outbox) -> None:
    outbox.append(tick(0), START)
    assert outbox.cut(KEY, sealer()) is None
    assert outbox.standing().untold == set(STREAMS)
    outbox.tell(empty_heads(STREAMS[:1]), anew=True)
    assert [run.stream for run in cut(outbox).runs] == [STREAMS[0]]
    assert outbox.standing().untold == set(STREAMS[1:])


def test_an_envelope_continues_the_head_that_was_told_with_the_oldest_bodies(outbox: Outbox) -> None:
    first, second = tick(0), tick(1)
    outbox.append(first, START)
    outbox.append(second, START)
    outbox.tell([StreamHead.of(stream, ELSEWHERE) for stream in STREAMS], anew=True)
    made = cut(outbox)
    assert bodies_of(made) == [
        (stream, [one.body, two.body]) for stream, one, two in zip(STREAMS, first, second, strict=True)
    ]
    assert {(run.first, run.last, run.previous) for run in made.runs} == {(8, 9, ELSEWHERE.hash)}
    assert made.digest == sha256(made.envelope).hexdigest()


def test_an_envelope_holds_no_more_than_the_ledger_takes(outbox: Outbox) -> None:
    bodies = [Outgoing(STREAMS[0], read_body(quarter)) for quarter in range(EVENTS_MAX + 1)]
    outbox.append(bodies, START)
    outbox.tell(empty_heads(), anew=True)
    assert [cut(outbox).events, cut(outbox).events] == [EVENTS_MAX, 1]
    assert outbox.cut(KEY, sealer()) is None


def test_an_envelope_stays_well_below_what_nats_carries_but_takes_one_body_of_any_size(
    outbox: Outbox,
) -> None:
    large = b'"' + b"x" * (BYTES_MAX // 2) + b'"'  # a text is canonical JSON too
    outbox.append([Outgoing(STREAMS[0], large)] * 3, START)
    outbox.append([Outgoing(STREAMS[1], b'"' + b"y" * BYTES_MAX + b'"')], START)
    outbox.tell(empty_heads(), anew=True)
    assert [cut(outbox).events for _ in range(4)] == [1, 1, 1, 1]


def test_consecutive_envelopes_are_chained_before_any_is_answered(outbox: Outbox) -> None:
    ledger = LedgerDouble()
    outbox.tell(ledger.tell().heads, anew=True)
    for quarter in range(3):
        outbox.append(tick(quarter), START)
        (answer,) = ledger.take(cut(outbox).envelope)
        assert answer.code == "recorded"
    assert len(ledger.bodies) == 3 * len(STREAMS)


def test_an_envelope_in_flight_is_the_same_bytes_after_a_restart(tmp_path: Path) -> None:
    outbox = reopen(tmp_path)
    outbox.append(tick(0), START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    outbox.append(tick(1), START)
    outbox.close()
    again = reopen(tmp_path)
    assert again.cuts() == [made]
    assert {run.first for run in cut(again).runs} == {2}
    again.close()


def test_only_a_release_lets_go_of_bodies_and_doing_it_twice_changes_nothing(outbox: Outbox) -> None:
    outbox.append(tick(0), START)
    outbox.append(tick(1), START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    outbox.append(tick(2), START)
    assert waiting(outbox) == 9
    for _ in range(2):
        outbox.release(made, heads_after(made))
        assert waiting(outbox) == 3
        assert outbox.cuts() == []
    assert {run.first for run in cut(outbox).runs} == {3}


def test_rows_are_never_given_twice(tmp_path: Path) -> None:
    outbox = reopen(tmp_path)
    outbox.append(tick(0), START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    outbox.release(made, heads_after(made))
    outbox.close()
    again = reopen(tmp_path)
    again.append(tick(1), START)
    assert cut(again).events == len(STREAMS)
    again.close()


def test_a_withdrawn_envelope_is_cut_again_to_the_same_bytes(outbox: Outbox) -> None:
    outbox.append(tick(0), START)
    outbox.tell(empty_heads(), anew=True)
    first = cut(outbox)
    outbox.append(tick(1), START)
    second = cut(outbox)
    outbox.withdraw(second)
    assert outbox.cuts() == [first]
    again = cut(outbox)
    assert (again.envelope, again.digest) == (second.envelope, second.digest)
    assert again.number > second.number


def test_withdrawing_an_envelope_takes_back_what_was_chained_to_it(outbox: Outbox) -> None:
    outbox.tell(empty_heads(), anew=True)
    made = []
    for quarter in range(3):
        outbox.append(tick(quarter), START)
        made.append(cut(outbox))
    outbox.withdraw(made[1])
    assert outbox.cuts() == made[:1]
    both = cut(outbox)
    assert (both.events, {run.first for run in both.runs}) == (6, {2})


def test_a_refused_body_is_kept_aside_with_its_reason_and_the_rest_is_chained_without_it(
    outbox: Outbox,
) -> None:
    ledger = LedgerDouble()
    bodies = [Outgoing(STREAMS[0], read_body(quarter)) for quarter in range(5)]
    bodies[2] = Outgoing(STREAMS[0], b'{"type":"unheard-of/1"}')
    outbox.append(bodies, START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    (answer,) = ledger.take(made.envelope)
    assert answer.refusal is not None
    assert (answer.code, answer.refusal.sequence) == ("malformed", 3)
    assert outbox.refuse(made, STREAMS[0], 3, answer.code, answer.refusal.what)
    again = cut(outbox)
    (answer,) = ledger.take(again.envelope)
    outbox.release(again, answer.heads)
    assert ledger.bodies == [*bodies[:2], *bodies[3:]]
    assert [(one.stream, one.body, one.code) for one in outbox.refusals()] == [(*bodies[2], "malformed")]
    assert outbox.standing()[:3] == (0, None, 1)


def test_a_refusal_of_what_the_envelope_does_not_hold_changes_nothing(outbox: Outbox) -> None:
    outbox.append(tick(0), START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    assert not outbox.refuse(made, STREAMS[0], 2, "malformed", "")
    assert not outbox.refuse(made, OWN_STREAM, 1, "malformed", "")
    assert outbox.cuts() == [made]


def test_a_takeover_chains_what_waits_anew(outbox: Outbox) -> None:
    bodies = tick(0)
    outbox.append(bodies, START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    assert not outbox.rechain(made, [StreamHead.of(STREAMS[0], ELSEWHERE)])
    again = cut(outbox)
    assert {run.stream: run.first for run in again.runs} == {STREAMS[0]: 8, STREAMS[1]: 1, STREAMS[2]: 1}
    assert bodies_of(again) == [(one.stream, [one.body]) for one in bodies]


def test_bodies_under_a_link_that_the_ledger_tells_are_let_go(outbox: Outbox) -> None:
    """The answer to a refused envelope turned out otherwise for its second copy."""
    ledger = LedgerDouble()
    outbox.append([Outgoing(STREAMS[0], read_body(quarter)) for quarter in range(4)], START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    outbox.refuse(made, STREAMS[0], 2, "clock-skew", "from the future")
    again = cut(outbox)
    outbox.append([Outgoing(STREAMS[0], read_body(4))], START)
    ledger.take(made.envelope)
    (answer,) = ledger.take(again.envelope)
    assert answer.code == "fork"
    assert outbox.rechain(again, answer.heads)
    assert waiting(outbox) == 1
    (answer,) = ledger.take(cut(outbox).envelope)
    assert (answer.code, len(ledger.bodies)) == ("recorded", 5)


def test_heads_told_anew_do_not_move_a_chain_that_has_an_envelope_in_flight(outbox: Outbox) -> None:
    outbox.append(tick(0), START)
    outbox.tell(empty_heads(), anew=True)
    cut(outbox)
    outbox.tell([StreamHead.of(stream, ELSEWHERE) for stream in (*STREAMS, OWN_STREAM)], anew=True)
    outbox.append([*tick(1), Outgoing(OWN_STREAM, b"{}")], START)
    firsts = {run.stream: run.first for run in cut(outbox).runs}
    assert firsts == {**dict.fromkeys(STREAMS, 2), OWN_STREAM: 8}


def test_heads_of_known_streams_are_ignored_unless_told_anew(outbox: Outbox) -> None:
    outbox.tell(empty_heads(), anew=True)
    outbox.tell([StreamHead.of(STREAMS[0], ELSEWHERE)], anew=False)
    outbox.append(tick(0), START)
    assert {run.first for run in cut(outbox).runs} == {1}


def test_a_release_goes_on_after_what_others_wrote_since(outbox: Outbox) -> None:
    outbox.append(tick(0), START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox)
    outbox.release(made, [StreamHead.of(STREAMS[0], ELSEWHERE), *heads_after(made)[1:]])
    outbox.append(tick(1), START)
    assert {run.stream: run.first for run in cut(outbox).runs} == dict(zip(STREAMS, (8, 2, 2), strict=True))


def test_a_narrow_stream_sends_short_runs_and_loses_no_order(outbox: Outbox) -> None:
    ledger = LedgerDouble()
    kept = [one for quarter in range(5) for one in tick(quarter)]
    outbox.append(kept, START)
    outbox.tell(empty_heads(), anew=True)
    made = cut(outbox, m_1=2)
    assert {run.stream: run.last for run in made.runs} == dict(zip(STREAMS, (2, 5, 5), strict=True))
    for envelope in (made.envelope, cut(outbox).envelope):
        assert ledger.take(envelope)[0].code == "recorded"
    for stream in STREAMS:
        mine = [one for one in kept if one.stream == stream]
        assert [one for one in ledger.bodies if one.stream == stream] == mine


def test_the_key_that_signed_an_envelope_is_remembered(tmp_path: Path) -> None:
    outbox = reopen(tmp_path)
    outbox.append(tick(0), START)
    outbox.tell(empty_heads(), anew=True)
    assert outbox.cut(OTHER_KEY.public.id, sealer(OTHER_KEY)) is not None
    assert [one.key for one in outbox.cuts()] == [OTHER_KEY.public.id]
    outbox.close()


def test_threads_wait_for_one_another(outbox: Outbox) -> None:
    outbox.tell(empty_heads(), anew=True)

    def keep(meter: int) -> None:
        for quarter in range(20):
            outbox.append([Outgoing(STREAMS[meter], read_body(quarter, meter))], START)

    threads = [threading.Thread(target=keep, args=(meter,)) for meter in range(3)]
    for thread in threads:
        thread.start()
    ledger = LedgerDouble()
    while any(thread.is_alive() for thread in threads) or waiting(outbox):
        if (made := outbox.cut(KEY, sealer())) is not None:
            outbox.release(made, ledger.take(made.envelope)[0].heads)
    assert len(ledger.bodies) == 60


@pytest.mark.parametrize("body", [b"{} ", b"{", b'{"wh":1.5}', b"\xff"])
def test_a_body_that_would_spoil_every_envelope_is_not_taken(outbox: Outbox, body: bytes) -> None:
    with pytest.raises(BadInput):
        outbox.append([*tick(0), Outgoing(STREAMS[0], body)], START)
    assert waiting(outbox) == 0


def test_a_body_that_the_disk_has_changed_is_laid_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    outbox, ledger = reopen(tmp_path), LedgerDouble()
    outbox.tell(ledger.tell().heads, anew=True)
    kept = [Outgoing(STREAMS[0], read_body(quarter)) for quarter in range(3)]
    outbox.append(kept, START)
    outbox.close()
    with sqlite3.connect(tmp_path / "outbox" / "gw-1.db") as db:
        db.execute("UPDATE body SET body = CAST(replace(body, '250', '750') AS BLOB) WHERE row = 2")
    db.close()
    again = reopen(tmp_path)
    made = cut(again)
    assert ledger.take(made.envelope)[0].code == "recorded"
    assert ledger.bodies == [kept[0], kept[2]]
    assert [one.code for one in again.refusals()] == ["outbox-damaged"]
    assert (waiting(again), again.standing().refused) == (2, 1)
    again.close()


# --- the file ------------------------------------------------------------------------------------


def test_the_outbox_is_its_owners_alone(outbox: Outbox, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "outbox" / "gw-1.db").stat().st_mode) == 0o600


def test_a_second_gateway_may_not_have_the_same_outbox(outbox: Outbox, tmp_path: Path) -> None:
    outbox.append(tick(0), START)
    with pytest.raises(OutboxInUse) as caught:
        reopen(tmp_path)
    assert "another gateway" in caught.value.hint


@pytest.mark.parametrize(
    ("contents", "what"),
    [
        (b"", "empty or gone"),
        (b"not a database, but long enough to look at" * 100, "cannot be read"),
    ],
)
def test_a_file_that_is_no_outbox_is_never_made_anew(tmp_path: Path, contents: bytes, what: str) -> None:
    path = tmp_path / "outbox" / "gw-1.db"
    path.parent.mkdir()
    path.write_bytes(contents)
    with pytest.raises(OutboxDamaged, match=what) as caught:
        reopen(tmp_path)
    assert ".recover" in caught.value.hint
    assert path.read_bytes() == contents


def test_a_log_without_its_file_is_damage(tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "gw-1.db-wal").write_bytes(b"something")
    with pytest.raises(OutboxDamaged):
        reopen(tmp_path)


def test_another_database_is_not_taken_for_an_outbox(tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    with sqlite3.connect(tmp_path / "outbox" / "gw-1.db") as db:
        db.execute("CREATE TABLE cookies (name)")
    db.close()
    with pytest.raises(OutboxDamaged, match="not an outbox"):
        reopen(tmp_path)


def test_an_outbox_of_another_version_is_left_alone(tmp_path: Path) -> None:
    reopen(tmp_path).close()
    with sqlite3.connect(tmp_path / "outbox" / "gw-1.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxUnavailable, match="version 99"):
        reopen(tmp_path)


def test_a_damaged_page_is_noticed_when_the_outbox_is_opened(tmp_path: Path) -> None:
    outbox = reopen(tmp_path)
    for quarter in range(200):
        outbox.append(tick(quarter), START)
    outbox.close()
    path = tmp_path / "outbox" / "gw-1.db"
    data = bytearray(path.read_bytes())
    data[4096 * 12 : 4096 * 20] = bytes(4096 * 8)
    path.write_bytes(data)
    with pytest.raises(OutboxDamaged):
        reopen(tmp_path)
    assert path.read_bytes() == bytes(data)


def test_a_half_made_outbox_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "gw-1.db.new").write_bytes(b"half")
    outbox = reopen(tmp_path)
    assert waiting(outbox) == 0
    outbox.close()


def test_an_outbox_in_a_place_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file where the folder should be")
    with pytest.raises(OutboxUnavailable, match="cannot be made"):
        reopen(tmp_path)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans(), st.booleans()), min_size=1, max_size=15
    )
)
def test_every_body_is_recorded_once_and_in_order_however_answers_are_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    outbox, ledger = reopen(folder), LedgerDouble()
    outbox.tell(ledger.tell().heads, anew=True)
    kept: list[Outgoing] = []
    for meter, count, answered, restarted in steps:
        bodies = [Outgoing(STREAMS[meter], read_body(len(kept) + n)) for n in range(count)]
        kept += bodies
        outbox.append(bodies, START)
        made = cut(outbox)
        (answer,) = ledger.take(made.envelope)
        if answered:
            outbox.release(made, answer.heads)
        if restarted:
            outbox.close()
            outbox = reopen(folder)
    for made in outbox.cuts():
        (answer,) = ledger.take(made.envelope)
        assert answer.code == "duplicate"
        outbox.release(made, answer.heads)
    assert waiting(outbox) == 0
    assert ledger.bodies == kept
    assert ledger.heads.get(STREAMS[0], EMPTY).sequence == sum(one.stream == STREAMS[0] for one in kept)
    outbox.close()

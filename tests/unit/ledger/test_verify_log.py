"""What signs and seals a book cannot be changed: its keys, its blocks and its checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.events import BlockSealed
from ledger.note import Checkpoint, NoteError, Verifier
from ledger.registry import SERVICE
from ledger.verify import verify_file
from tests.support.witness import Witness
from tests.unit.ledger.book_lines import BookLines, failing
from tests.unit.ledger.campus import LOG_KEY, MORNING, STRANGER_KEY
from tests.unit.ledger.memory_ledger import ORIGIN, open_ledger, write_book

SIGNATURES, LOG, BLOCKS = "keys and signatures", "log", "blocks"


# --- the checkpoint --------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(r"\n44\n", r"\n45\n"), (r"campus\n44", r"camper\n44")])
def test_an_edited_checkpoint_fails_in_the_log_alone(book: BookLines, old: str, new: str) -> None:
    book.replace(-1, old, new)
    assert failing(book.verify()) == {LOG: f"line {len(book.lines)}"}


def test_a_checkpoint_of_another_tree_fails_in_the_log_alone(book: BookLines) -> None:
    note = Checkpoint(ORIGIN, 44, bytes(32)).sign(LOG_KEY)
    book.change(-1, lambda line: line.update(checkpoint=note))
    assert failing(book.verify()) == {LOG: f"line {len(book.lines)}"}


def test_a_checkpoint_of_another_size_fails_in_the_log_alone(book: BookLines) -> None:
    note = Checkpoint(ORIGIN, 40, bytes(32)).sign(LOG_KEY)
    book.change(-1, lambda line: line.update(checkpoint=note))
    assert failing(book.verify()) == {LOG: "line 1"}


def test_a_book_written_anew_by_somebody_else_does_not_pass_under_the_pinned_key(original: Path) -> None:
    assert verify_file(original).verified
    other = str(Verifier(ORIGIN, STRANGER_KEY.public))
    report = verify_file(original, other)
    assert set(failing(report)) == {LOG}
    assert not report.verified


def test_a_pinned_key_that_is_none_is_refused(original: Path) -> None:
    with pytest.raises(NoteError):
        verify_file(original, "ledger.example/campus")


# --- witnesses -------------------------------------------------------------------------------------


def cosigned(book: BookLines, *lines: Callable[[str], str]) -> None:
    """Put cosignatures over its text under the checkpoint."""

    def put(line: dict[str, Any]) -> None:
        text = line["checkpoint"].partition("\n\n")[0] + "\n"
        line["checkpoint"] += "".join(cosign(text) for cosign in lines)

    book.change(-1, put)


def test_every_witness_whom_the_auditor_names_must_have_cosigned(book: BookLines) -> None:
    first, second = Witness("witness.example/w1"), Witness("witness.example/w2")
    cosigned(book, first.cosign, Witness("witness.example/unknown").cosign)
    assert book.verify().verified, "who names no witness is not concerned by any"
    seen = book.verify(witnesses=[first.vkey])
    assert seen.verified
    assert any("witness.example/w1 cosigned the checkpoint at 20" in note for note in seen.notes)
    missed = book.verify(witnesses=[first.vkey, second.vkey])
    assert set(failing(missed)) == {LOG}
    assert "witness.example/w2 has not cosigned" in missed.verdicts[3].findings[0].what


def test_a_forged_cosignature_fails_in_the_log_alone(book: BookLines) -> None:
    forger = Witness("witness.example/w1")
    forger.forges = True
    cosigned(book, forger.cosign)
    assert set(failing(book.verify(witnesses=[forger.vkey]))) == {LOG}


def test_a_witness_that_is_none_is_refused(original: Path) -> None:
    with pytest.raises(NoteError):
        verify_file(original, witnesses=[str(Verifier(ORIGIN, LOG_KEY.public))])


# --- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("public_key", STRANGER_KEY.public.bytes.hex()),
        ("public_key", "00" * 32),
        ("id", "0" * 16),
        ("enrolled", 2),
        ("ended", 40),
        ("role", "operator"),
        ("device", "gw-3"),
    ],
)
def test_an_edited_key_line_fails_in_keys_alone(book: BookLines, field: str, value: object) -> None:
    book.change(book.index("key", 2), lambda line: line["key"].update({field: value}))
    assert failing(book.verify()) == {SIGNATURES: "line 4"}


def test_keys_in_another_order_are_found(book: BookLines) -> None:
    one, two = book.index("key", 3), book.index("key", 4)
    book.lines[one], book.lines[two] = book.lines[two], book.lines[one]
    assert failing(book.verify()) == {SIGNATURES: "line 5"}


# --- blocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("root", "00" * 32),
        ("previous", "00" * 32),
        ("sealed_at", "2026-06-01T11:00:00Z"),
        ("number", 3),
        ("size", 36),
        ("community", "block"),
    ],
)
def test_an_edited_block_fails_in_blocks_alone(book: BookLines, field: str, value: object) -> None:
    book.change(book.index("block", 1), lambda line: line["block"].update({field: value}))
    assert failing(book.verify()) == {BLOCKS: "device/service 2"}


@pytest.mark.parametrize(("field", "value"), [("hash", "00" * 32), ("position", 36)])
def test_an_edited_block_line_fails_in_blocks_alone(book: BookLines, field: str, value: object) -> None:
    book.change(book.index("block", 0), lambda line: line.update({field: value}))
    assert failing(book.verify()) == {BLOCKS: "device/service 1"}


def test_a_block_that_nobody_sealed_is_found(book: BookLines) -> None:
    at = book.index("block", 1)
    book.lines.insert(at + 2, book.lines[at].replace(b'"number":2', b'"number":3'))
    assert failing(book.verify()) == {BLOCKS: f"line {at + 3}"}


def test_a_sealed_root_that_is_not_the_trees_fails_in_blocks_alone(tmp_path: Path) -> None:
    ledger = open_ledger()
    lie = BlockSealed(number=1, previous="0" * 64, root="11" * 32, sealed_at=MORNING, size=ledger.edge.size)
    ledger.send(SERVICE, {f"device/{SERVICE}": [lie]})
    report = verify_file(write_book(ledger, tmp_path / "book.jsonl"))
    assert failing(report) == {BLOCKS: "device/service 1"}

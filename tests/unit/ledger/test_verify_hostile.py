"""A file that was made to fill the memory does not: each part of it has a bound, and the bound is told."""

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.book_file import LINE_BYTES_MAX, EnvelopeLine, Header, HeaderLine
from ledger.canonical import encode
from ledger.entry import EMPTY
from ledger.envelope import EVENTS_MAX, NewRun, RunHead, read_envelope, seal_envelope, signed_text
from ledger.events import FeederAdded, MeterRead
from ledger.keys import b64
from ledger.registry import OPERATOR
from ledger.verify import verify_file
from ledger.verify.report import FAULTS_MAX
from tests.unit.ledger.book_lines import BookLines, bodies, failing
from tests.unit.ledger.campus import COMMUNITY, KEYS, MORNING, reading
from tests.unit.ledger.memory_ledger import busy_ledger, write_extract

FORM, SIGNATURES, CHAINS, LOG = "form", "keys and signatures", "chains", "log"
MEGABYTES_MAX = 150
EMOJI = "\N{GRINNING FACE}"

PEAK = """
import re, sys
from pathlib import Path
import msgspec
from ledger.verify import verify_file

report = verify_file(Path(sys.argv[1]))
(peak,) = re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
sys.stdout.buffer.write(msgspec.json.encode({"report": report, "megabytes": int(peak) // 1024}))
"""


def envelope(stream: str, first: int, written: list[bytes]) -> bytes:
    """An envelope line with made-up entry hashes, which the operator's key signs."""
    last = first + len(written) - 1
    signature = KEYS[OPERATOR].sign(
        signed_text(COMMUNITY, OPERATOR, [RunHead(stream, first, last, bytes(32))])
    )
    run = {
        "bodies": [msgspec.Raw(body) for body in written],
        "first": first,
        "previous": "0" * 64,
        "stream": stream,
    }
    sent = {
        "community": COMMUNITY,
        "device": OPERATOR,
        "key": KEYS[OPERATOR].public.id,
        "runs": [run],
        "signature": b64(signature),
    }
    return encode({"envelope": sent, "hashes": "00" * 32 * len(written), "position": first}) + b"\n"


def keys_again_and_again(book: list[bytes]) -> Iterator[bytes]:
    yield book[0]
    for _ in range(400):
        yield book[1] * 1_000


def registry_of_made_up_hashes(book: list[bytes]) -> Iterator[bytes]:
    yield from book[:-1]
    for first in range(100, 60_100, EVENTS_MAX):
        events = [FeederAdded(feeder=f"f-{at}", name=EMOJI * 200) for at in range(first, first + EVENTS_MAX)]
        yield envelope("registry", first, [encode(event) for event in events])


def bodies_by_the_line(book: list[bytes]) -> Iterator[bytes]:
    yield from book[:-1]
    few = envelope("registry", 100, [b"1", b"1"])
    yield few.replace(b"[1,1]", b"[" + b"1," * 700_000 + b"1]") * 9


def readings_under_one_signature(book: list[bytes]) -> Iterator[bytes]:
    header = Header(
        community=COMMUNITY,
        format="energy-ledger-book/1",
        log_key="",
        scope="meter",
        size=9,
        events=9,
        meter="m",
    )
    yield encode(HeaderLine(header)) + b"\n"
    large = msgspec.structs.replace(reading(0), raw=EMOJI * 200, serial=EMOJI * 40)
    run = {"first": 1, "head": "0" * 64, "last": 2**50, "stream": "meter/m"}
    signed = {"community": COMMUNITY, "device": "gw-1", "key": "0" * 16, "runs": [run], "signature": "A" * 88}
    yield encode({"signed": signed}) + b"\n"
    for sequence in range(1, 60_000):
        entry = {"body": large, "hash": "0" * 64, "position": sequence, "proof": [], "sequence": sequence}
        yield encode({"entry": entry | {"stream": "meter/m"}}) + b"\n"


@pytest.mark.parametrize(
    ("hostile", "says"),
    [
        (keys_again_and_again, "the file ends without a checkpoint"),
        (registry_of_made_up_hashes, "broken off at line"),
        (bodies_by_the_line, "at most 500 are allowed"),
        (readings_under_one_signature, "at most 500 are allowed"),
    ],
)
def test_a_file_that_was_made_to_fill_the_memory_does_not(
    original: Path, tmp_path: Path, hostile: Callable[[list[bytes]], Iterator[bytes]], says: str
) -> None:
    path = tmp_path / "hostile.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=6) as packed:
        packed.writelines(hostile(original.read_bytes().splitlines(keepends=True)))
    assert path.stat().st_size < 1_000_000
    ran = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, check=True, timeout=60)
    told = msgspec.json.decode(ran.stdout)
    assert not told["report"]["verified"]
    assert says in ran.stdout.decode()
    assert told["megabytes"] < MEGABYTES_MAX


# --- the bounds -----------------------------------------------------------------------------------


def test_the_reading_is_broken_off_after_so_many_faults_and_says_so(book: BookLines) -> None:
    book.lines[-1:-1] = [b"x"] * (FAULTS_MAX + 5)
    report = book.verify()
    said = f"broken off at line {len(book.lines) - 6}, after 10,000 faults of its form"
    assert report.verdicts[0].found == FAULTS_MAX
    assert [verdict.status for verdict in report.verdicts] == ["fail"] + ["not checked"] * 5
    assert {verdict.summary for verdict in report.verdicts[1:]} == {said}
    assert said in report.notes


def test_an_envelope_of_too_many_events_is_refused(book: BookLines) -> None:
    at = book.run_index("meter/m-1", 4)
    book.change(at, lambda line: bodies(line).extend([{}] * (EVENTS_MAX - 7)))
    report = book.verify()
    assert failing(report)[FORM] == "meter/m-1 1"
    assert report.verdicts[0].findings[0].what == "the envelope has 501 events, at most 500 are allowed"


def test_each_event_without_an_entry_hash_is_found(book: BookLines) -> None:
    def cut(line: Any) -> None:
        line["hashes"] = line["hashes"][: 3 * 64]

    book.change(book.run_index("meter/m-1", 4), cut)
    report = book.verify()
    assert failing(report) == {CHAINS: "meter/m-1 4"}
    assert report.verdicts[2].found == 5


def test_the_longest_envelope_that_the_book_takes_fits_into_a_line() -> None:
    longest = MeterRead(
        import_wh=2**53 - 1,
        export_wh=2**53 - 1,
        measured_at=MORNING,
        quality="estimated",
        salt="\1" * 16,
        power_w=-(2**53) + 1,
        raw="\1" * 200,
        serial="\1" * 40,
    )
    runs = [NewRun(f"{at:064d}/{at:064d}", EMPTY, [encode(longest)]) for at in range(EVENTS_MAX)]
    sent = read_envelope(seal_envelope("c" * 64, "d" * 64, KEYS["gw-1"], runs)[0])
    line = EnvelopeLine(envelope=sent, hashes="00" * 32 * EVENTS_MAX, position=2**53 - 1)
    assert len(encode(line)) < LINE_BYTES_MAX


@pytest.fixture
def extract(tmp_path: Path) -> BookLines:
    return BookLines(write_extract(busy_ledger(), "m-1", tmp_path / "m-1.jsonl"))


@pytest.mark.parametrize(
    ("last", "says"), [(EVENTS_MAX + 2, "at most 500 are allowed"), (1, "ends before it begins")]
)
def test_an_envelope_of_an_extract_covers_no_more_than_an_envelope_may(
    extract: BookLines, last: int, says: str
) -> None:
    at = extract.index("signed", 1)
    extract.change(at, lambda line: line["signed"]["runs"][0].update(last=last))
    report = extract.verify()
    assert failing(report)[FORM] == "registry 2"
    assert says in report.verdicts[0].findings[0].what


def test_a_signed_head_that_lies_behind_the_chain_is_looked_up(extract: BookLines) -> None:
    """One envelope repeats an event that lies behind the head of its stream."""
    at = next(
        at
        for at, line in enumerate(extract.lines)
        if b'"last":11,"stream":"meter/m-1"' in line and b"device/gw-1" in line
    )
    assert extract.verify().verified
    extract.change(at, lambda line: line["signed"]["runs"][1].update(head="0" * 64))
    assert failing(extract.verify())[CHAINS] == "meter/m-1 11"


def test_an_event_that_comes_again_in_an_extract_is_a_fault_and_counts_once(extract: BookLines) -> None:
    """Else the events of one envelope, said over and over, would be remembered each time."""
    begin, end = extract.index("signed", 1), extract.index("signed", 2)
    again = extract.lines[begin + 1 : end]
    extract.lines[end:end] = again * 5
    report = extract.verify()
    assert failing(report) == {CHAINS: "registry 2"}
    assert report.verdicts[2].found == 5 * len(again)
    assert report.events == 34


def test_keys_are_compared_with_the_list_however_long_it_is(book: BookLines) -> None:
    keys = len([line for line in book.lines if line.startswith(b'{"key"')])
    book.lines[1:1] = [book.lines[1]] * 50
    assert failing(book.verify()) == {SIGNATURES: "line 3"}
    del book.lines[1:51]
    book.lines.insert(keys + 1, book.lines[keys])
    report = book.verify()
    assert failing(report) == {SIGNATURES: f"line {keys + 2}"}
    assert f"more keys are listed than the {keys}" in report.verdicts[1].findings[0].what


def test_a_packed_file_that_goes_on_for_ever_is_read_in_bounded_time(tmp_path: Path, original: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=6) as packed:
        packed.write(original.read_bytes().partition(b"\n")[0] + b"\n")
        for _ in range(20):
            packed.write(b"\n" * 1_000_000)
    assert verify_file(path).verdicts[0].found == FAULTS_MAX

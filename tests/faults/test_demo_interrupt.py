"""`demo` and `up` are broken off at any moment, and leave no process, no folder and no traceback behind.

Ctrl-C is what a terminal makes of it: SIGINT to the whole process group, in which the servers must not be.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from ledger.clock import monotonic_seconds
from ledger.verify import verify_file

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("SOAK_SEED", "1"))
SOAK_ROUNDS = int(os.environ.get("SOAK_ROUNDS", "40"))

EXIT_SECONDS_MAX = 10
START_SECONDS_MAX = 60
POLL_SECONDS = 0.01

SETTINGS = """\
[community]
id = "campus"

[[feeders]]
id = "f-1"

[[buildings]]
id = "b-1"
feeder = "f-1"

[[gateways]]
id = "gw-1"

[[gateways.lines]]
host = "127.0.0.1"
port = 1
attempts = 1

[[gateways.lines.meters]]
id = "m-1"
unit = 1
model = "sdm630"
building = "b-1"
rated_w = 10_000
"""


class Program:
    """`energy-ledger` as a shell's job: a process group, and a folder for all its temporary files."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.temporary.chmod(0o711)
        self._output = folder / "output"
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api", *words], cwd=ROOT, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self.folder = folder

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    def is_ready(self) -> bool:
        """Whether `up` has said that it is."""
        return "ready in" in self.output

    async def until(self, moment: Callable[[], bool]) -> bool:
        """Wait for a moment; whether the program still runs then."""
        end = monotonic_seconds() + START_SECONDS_MAX
        while self.process.poll() is None and not moment():
            assert monotonic_seconds() < end, self.output
            await asyncio.sleep(POLL_SECONDS)
        return self.process.poll() is None

    async def loading(self) -> None:
        """Wait until our code runs: the interpreter handles Ctrl-C, and then we have it end us while we load.
        What the interpreter does before is not ours to judge."""
        await self.until(lambda: _handles(self.process.pid, signal.SIGINT))
        await self.until(lambda: not _handles(self.process.pid, signal.SIGINT))

    def interrupt(self, number: signal.Signals) -> None:
        """Ctrl-C goes to the group, as from a terminal; SIGTERM to the process, as from `kill`."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        begin = monotonic_seconds()
        while (code := self.process.poll()) is None:
            assert monotonic_seconds() - begin < EXIT_SECONDS_MAX, f"still there: {self.output}"
            await asyncio.sleep(POLL_SECONDS)
        return code

    def at_work(self, name: str) -> list[int]:
        """The processes of that name that work in its folder."""
        return [
            pid
            for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if _works_in(pid, self.folder) and _read(pid, "comm").strip() == name.encode()
        ]

    def left(self) -> list[str]:
        """The processes that are left of it: of its session, or at work in its folder."""
        return [
            f"{pid} {_read(pid, 'cmdline').replace(bytes(1), b' ').decode()}"
            for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if _session(pid) == self.process.pid or _works_in(pid, self.folder)
        ]

    async def nothing_left(self) -> bool:
        """Whether its last process ends soon: a server that lost its owner takes a moment."""
        end = monotonic_seconds() + EXIT_SECONDS_MAX
        while self.left() and monotonic_seconds() < end:
            await asyncio.sleep(POLL_SECONDS)
        return not self.left()

    def end(self) -> None:
        """End it now, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _session(pid: int) -> int:
    """The session of a process that is not a zombie; proc(5)."""
    state, _, _, session, *_ = (*_read(pid, "stat").rpartition(b")")[2].split(), *[b"0"] * 4)[:5]
    return 0 if state in (b"Z", b"X") else int(session)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal; proc(5)."""
    fields = dict(line.split(b":", 1) for line in _read(pid, "status").splitlines())
    return bool(int(fields.get(b"SigCgt", b"0"), 16) >> (number - 1) & 1)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """What is started must not inherit an ignored Ctrl-C from a test run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def place(server_folder: Path) -> Path:
    """A folder that servers can pass through, with settings for `up`."""
    server_folder.mkdir()
    server_folder.chmod(0o711)
    (server_folder / "energy-ledger.toml").write_text(SETTINGS)
    return server_folder


def demo(place: Path) -> Program:
    """The demo, started."""
    return Program(place, "demo", "--days", "1")


def up(place: Path) -> Program:
    """An installation, started."""
    return Program(place, "up", "--config", str(place / "energy-ledger.toml"))


def there(place: Path, pattern: str) -> bool:
    """Whether a file or folder of such a name is below `place`, where all may come and go meanwhile."""
    return any(fnmatch(name, pattern) for _, folders, files in os.walk(place) for name in (*folders, *files))


async def broken_off(program: Program, number: signal.Signals) -> int:
    """Break a program off and see that nothing but its data is left; its exit code."""
    program.interrupt(number)
    code = await program.ended()
    assert "Traceback" not in program.output, program.output
    assert program.left() == []
    assert list(program.temporary.iterdir()) == []
    assert code < 0 or not there(program.folder, "running.json")
    return code


async def until_said(place: Path, *words: str) -> None:
    """Run a command again and again until it ends well."""
    end = monotonic_seconds() + START_SECONDS_MAX
    while monotonic_seconds() < end:
        with contextlib.suppress(AssertionError):
            await said(place, *words)
            return
    raise AssertionError(f"{words} does not end well")


async def said(place: Path, *words: str) -> str:
    """What a command says that is run to its end beside the program in `place`."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api", *words, "--config", str(place / "energy-ledger.toml")),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await running.communicate()
    assert running.returncode == 0, errors.decode()
    return output.decode()


async def exported(place: Path, name: str) -> set[str]:
    """The envelopes of the book, each a line, as they are exported and verified now."""
    book = place / name
    await said(place, "export", "--out", str(book))
    assert verify_file(book).verified
    return {line for line in book.read_text().splitlines() if line.startswith('{"envelope"')}


# --- at every stage ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_program_that_is_broken_off_while_it_loads_says_nothing(
    place: Path, number: signal.Signals
) -> None:
    program = demo(place)
    try:
        await program.loading()
        assert await broken_off(program, number) == -number
        assert program.output == ""
    finally:
        program.end()


@pytest.mark.parametrize(
    ("sign", "number"),
    [
        pytest.param("data.new-*", signal.SIGINT, id="making the cluster"),
        pytest.param("gw-campus.db", signal.SIGTERM, id="reading meters"),
        pytest.param("*.book.jsonl*", signal.SIGINT, id="exporting"),
        pytest.param("tampered.book.jsonl", signal.SIGTERM, id="verifying for the last time"),
    ],
)
async def test_a_demo_that_is_broken_off_leaves_nothing_and_says_so(
    place: Path, sign: str, number: signal.Signals
) -> None:
    program = demo(place)
    try:
        assert await program.until(lambda: there(place, sign)), program.output
        assert await broken_off(program, number) == 128 + number, program.output
        assert program.output.endswith("\nstopped; nothing was left running\n")
    finally:
        program.end()


async def test_an_installation_stops_in_good_order_also_while_it_starts(place: Path) -> None:
    program = up(place)
    try:
        assert await program.until(lambda: there(place, "data.new-*")), program.output
        assert await broken_off(program, signal.SIGINT) == 0, program.output
        program = up(place)
        assert await program.until(program.is_ready), program.output
        assert await broken_off(program, signal.SIGTERM) == 0, program.output
        assert program.output.endswith("stopped\n")
    finally:
        program.end()


async def test_an_installation_stops_also_while_a_meter_keeps_it_waiting(place: Path) -> None:
    asked = asyncio.Event()

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(stay_silent, "127.0.0.1") as silent:
        port = silent.sockets[0].getsockname()[1]
        settings = SETTINGS.replace("port = 1\n", f"port = {port}\ntimeout_ms = 60_000\n")
        (place / "energy-ledger.toml").write_text(settings)
        program = up(place)
        try:
            assert await program.until(asked.is_set), program.output
            assert await broken_off(program, signal.SIGTERM) == 0, program.output
        finally:
            program.end()


async def test_a_killed_installation_leaves_no_server_and_goes_on_with_the_same_book(place: Path) -> None:
    before: set[str] = set()
    program = up(place)
    try:
        for _ in range(2):
            assert await program.until(program.is_ready), program.output
            events = await exported(place, "campus.book.jsonl")
            assert before <= events != set()
            before = events
            program.process.kill()
            await program.ended()
            assert await program.nothing_left(), program.left()
            program = up(place)
    finally:
        program.end()


async def test_an_installation_brings_back_a_server_that_was_killed(place: Path) -> None:
    program = up(place)
    try:
        assert await program.until(program.is_ready), program.output
        for count, name in enumerate(("nats-server", "postgres"), 1):
            for pid in program.at_work(name):
                os.kill(pid, signal.SIGKILL)
            assert await program.until(lambda: program.output.count("server ended by itself") == count)  # noqa: B023 - at once
            for command in ("seal", "status"):
                await until_said(place, command)
        await exported(place, "campus.book.jsonl")
        assert await broken_off(program, signal.SIGTERM) == 0, program.output
    finally:
        program.end()


# --- at any moment -------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_a_demo_can_be_broken_off_at_any_moment(place: Path) -> None:
    chance = random.Random(SEED)
    codes: Counter[int] = Counter()
    for _ in range(SOAK_ROUNDS):
        program = demo(place)
        try:
            number = chance.choice((signal.SIGINT, signal.SIGTERM))
            await program.loading()
            await asyncio.sleep(chance.uniform(0, 5))
            if program.process.poll() is None:
                code = await broken_off(program, number)
                assert code in {128 + number, -number, 0}, program.output
                codes[code] += 1
        finally:
            program.end()
    print(f"\nseed {SEED}: demos ended with {dict(codes)}")


@pytest.mark.soak
@pytest.mark.timeout(3_600)
async def test_an_installation_can_be_broken_off_and_killed_at_any_moment(place: Path) -> None:
    chance = random.Random(SEED)
    ends: Counter[tuple[str, int]] = Counter()
    events: set[str] = set()
    for _ in range(SOAK_ROUNDS):
        program = up(place)
        try:
            number = chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
            await program.loading()
            if chance.random() < 0.3:
                await program.until(program.is_ready)
                now = await exported(place, "campus.book.jsonl")
                assert events <= now
                events = now
            await asyncio.sleep(chance.uniform(0, 5))
            assert program.process.poll() is None, program.output
            if number == signal.SIGKILL:
                program.process.kill()
                code = await program.ended()
                assert await program.nothing_left(), program.left()
            else:
                code = await broken_off(program, number)
                assert code in {0, -number}, program.output
            ends[number.name, code] += 1
        finally:
            program.end()
    print(f"\nseed {SEED}: installations ended with {dict(ends)}, {len(events)} events")

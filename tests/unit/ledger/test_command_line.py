"""Signals: a command that is broken off ends with the code that a shell knows this by, at whatever moment."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BOTH = [signal.SIGINT, signal.SIGTERM]

PROGRAM = """
import asyncio, os, signal, sys, threading, time
from ledger.command_line import run

def break_off():
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])

{body}
signal.signal(signal.SIGINT, signal.default_int_handler)
print(run(main()))
"""
MOMENTS = {
    "while it waits": """
async def main():
    asyncio.get_running_loop().call_later(0.01, break_off)
    await asyncio.sleep(60)
""",
    "as it begins": """
break_off_first = asyncio.ensure_future
def ensure_future(coroutine):
    break_off()
    return break_off_first(coroutine)
asyncio.ensure_future = ensure_future
async def main():
    await asyncio.sleep(60)
""",
    "in its last step": """
async def main():
    break_off()
    return "done"
""",
    "while its threads are waited for": """
async def main():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.2)
    threading.Timer(0.1, break_off).start()
    return "done"
""",
}


def broken_off(body: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), number.name],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_signal_is_swallowed(moment: str, number: signal.Signals) -> None:
    done = broken_off(MOMENTS[moment], number)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


def test_a_command_that_nobody_breaks_off_returns_what_it_has() -> None:
    done = broken_off("async def main():\n    return 'done'\n", signal.SIGINT)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_command_that_is_cancelled_from_within_is_no_stop_that_was_asked_for() -> None:
    done = broken_off("async def main():\n    raise asyncio.CancelledError\n", signal.SIGINT)
    assert done.returncode == 1
    assert "CancelledError" in done.stderr


def test_what_ran_after_a_command_hears_signals_as_before() -> None:
    body = "async def main():\n    asyncio.get_running_loop().call_later(0, lambda: None)\n"
    program = PROGRAM.format(body=body) + "\nbreak_off()\n"
    done = subprocess.run(
        [sys.executable, "-c", program, "SIGINT"], cwd=ROOT, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.stdout == "None\n"
    assert "KeyboardInterrupt" in done.stderr


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""As Python runs unless it is told otherwise: what it could not write it tries to write again at its end."""

SERVICE = """
import asyncio, sys
import structlog
from ledger.command_line import configure_logs, serve

configure_logs()

async def main(stop):
    print("ready", flush=True)
    await stop.wait()
    structlog.get_logger(__name__).info("stopping")
    await asyncio.sleep(0)

serve(main)
"""


@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_a_service_stops_also_when_nobody_reads_its_log_any_more(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=BUFFERED,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        process.stderr.close()
        process.send_signal(number)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# --- logs ---------------------------------------------------------------------------------------

LINES = """
import structlog
from ledger.command_line import configure_logs

class Thing:
    def __repr__(self):
        return "a thing"

configure_logs()
log = structlog.get_logger()
log.info("plain", text="ผลิตไฟฟ้า", number=2**70, none=None)
log.info("odd", thing=Thing(), keys={1: b"2"}, broken="\\udc80")
try:
    raise ValueError("wrong")
except ValueError as error:
    log.error("failed", exc_info=error)
"""


def test_a_log_line_is_json_whatever_it_tells() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINES], cwd=ROOT, capture_output=True, timeout=30, check=True
    )
    plain, odd, failed = (json.loads(line) for line in done.stderr.splitlines())
    assert (plain["event"], plain["level"], plain["text"]) == ("plain", "info", "ผลิตไฟฟ้า")
    assert plain["timestamp"].endswith("Z")
    assert (plain["number"], plain["none"]) == (2**70, None)
    assert (odd["thing"], odd["broken"]) == ("a thing", "\udc80")
    assert "ValueError: wrong" in failed["exception"]

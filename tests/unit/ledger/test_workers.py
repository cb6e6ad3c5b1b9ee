"""Other processes end with the one that started them, and errors come back from them whole."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from ledger.errors import LedgerError
from ledger.workers import worker_pool
from settlement.known_building import UnknownBuilding

SECONDS_MAX = 30
PARENT = """
import os, sys, time
from ledger.workers import worker_pool
if __name__ == "__main__":
    print(worker_pool(1).submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def refuse() -> None:
    raise UnknownBuilding("there is no b-9", "b-9", where="rules.toml: line 3", hint="name another")


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return state not in "ZX"


def test_an_error_comes_back_with_all_that_it_says() -> None:
    with worker_pool(1) as pool, pytest.raises(UnknownBuilding) as raised:
        pool.submit(refuse).result()
    assert raised.value.building == "b-9"
    assert raised.value.diagnostics() == (
        "unknown-building: there is no b-9\n  where: rules.toml: line 3\n  what to do: name another"
    )
    assert isinstance(raised.value, LedgerError)


def test_a_process_that_was_killed_is_noticed() -> None:
    with worker_pool(1) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            pool.submit(os.getpid).result()


def test_a_program_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert runs(worker)
        parent.kill()
    deadline = time.monotonic() + SECONDS_MAX
    while runs(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)

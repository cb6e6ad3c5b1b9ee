"""The book can be recomputed with a shell, `sha256sum` and OpenSSL, and a changed value does not pass."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "recompute.sh"
VECTORS = Path(__file__).parent.parent / "vectors"
TOOLS = ("bash", "sha256sum", "openssl", "base64", "od")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)} on the PATH"
)


def recompute(path: Path) -> subprocess.CompletedProcess[str]:
    # A bare environment: nothing of the project, or of the user's shell, can lend a hand.
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        ["bash", str(SCRIPT), str(path)], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("book.json", 34),
        ("registry.json", 110),
        ("rotation.json", 82),
        ("receipts.json", 11),
        ("tree.json", 43),
    ],
)
def test_a_shell_recomputes_the_vectors(name: str, values: int) -> None:
    done = recompute(VECTORS / name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{values} values recomputed\n"


def flipped(value: str | int) -> str | int:
    """The value with the lowest bit of its middle changed."""
    if isinstance(value, int):
        return value ^ 1
    middle = len(value) // 2
    return value[:middle] + chr(ord(value[middle]) ^ 1) + value[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("book.json", "device/private_seed_hex"),
        ("book.json", "device/key"),
        ("book.json", "streams/0/events/1/body"),
        ("book.json", "streams/0/events/1/sequence"),
        ("book.json", "streams/1/events/0/entry_hash"),
        ("book.json", "envelope/signature"),
        ("book.json", "envelope/json"),
        ("book.json", "tree/roots_hex/3"),
        ("book.json", "checkpoint"),
        ("book.json", "block/hash"),
        ("rotation.json", "possession/signature"),
        ("receipts.json", "answers/1"),
    ],
)
def test_a_flipped_bit_does_not_pass(name: str, path: str, tmp_path: Path) -> None:
    vectors = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    *parents, last = path.split("/")
    place: Any = vectors
    for step in parents:
        place = place[int(step) if isinstance(place, list) else step]
    index = int(last) if isinstance(place, list) else last
    place[index] = flipped(place[index])
    changed = tmp_path / name
    changed.write_text(json.dumps(vectors), encoding="ascii")
    done = recompute(changed)
    assert done.returncode == 1
    assert path in done.stderr or "differs" in done.stderr


def test_a_file_without_values_does_not_pass(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("{}", encoding="ascii")
    assert recompute(empty).returncode == 1

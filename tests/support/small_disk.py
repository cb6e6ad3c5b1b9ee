"""A disk of its own that fills up and has room again: a file system in memory, which root alone can mount."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 2**20


class SmallDisk:
    """A mounted disk of so many MiB."""

    def __init__(self, folder: Path, size_mib: int) -> None:
        self.folder = folder
        self.size_mib = size_mib

    def fill(self) -> None:
        """Leave not a byte."""
        self._resize(f"{shutil.disk_usage(self.folder).used // 1024}k")

    def make_room(self, size_mib: int = 0) -> None:
        """Give it its size again, or another one."""
        self._resize(f"{size_mib or self.size_mib}m")

    def _resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[SmallDisk]:
    """Such a disk at `folder`. The test is skipped where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir(mode=0o711)
    options = f"size={size_mib}m,mode=711"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder, size_mib)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

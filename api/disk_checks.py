"""What the doctor says of the disk under the data folder, before it is full and not only then."""

import shutil
from pathlib import Path

from api.finding import Finding

FREE_BYTES_MIN = 2 * 2**30
SCARCE_BYTES = 5 * 2**30


def disk_finding(folder: Path) -> Finding:
    """How much is free where the data folder is, or will be."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    disk = shutil.disk_usage(existing)
    found = f"{disk.free // 2**20:,} of {disk.total // 2**20:,} MiB free under {existing}"
    if disk.free < FREE_BYTES_MIN:
        return Finding("disk", "wrong", found, "make room: a full disk stops the book")
    if disk.free < SCARCE_BYTES:
        return Finding(
            "disk", "odd", found, f"make room before less than {FREE_BYTES_MIN // 2**20:,} MiB are"
        )
    return Finding("disk", "well", found)

"""What stays of the demo for whoever wants to look around: the book, the invoices and the installation.

<folder>/campus.book.jsonl
<folder>/invoices
<folder>/data                   servers, keys, outboxes, as they were when the demo ended
<folder>/energy-ledger.toml     what starts them again
"""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from api.demo.campus import SETTINGS
from api.demo.market import MARKET, SELLER
from settlement.billing.files import CannotWrite, write_documents, write_file
from settlement.billing.invoice import Invoice

DATA = "data"


def check_room(folder: Path) -> None:
    """Return if an installation can be left in a folder. Raises `CannotWrite`."""
    place = folder / DATA
    try:
        if place.exists():
            raise CannotWrite("an installation is here already", where=str(place), hint="name another folder")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error.strerror}", where=str(folder)) from error


def keep_all(folder: Path, data: Path, book: Path, invoices: Sequence[Invoice]) -> None:
    """Leave all there is in a folder; `data` moves there. Raises `CannotWrite`."""
    write_documents(invoices, folder / "invoices")
    write_file(folder / book.name, book.read_bytes())
    write_file(folder / "energy-ledger.toml", _settings().encode())
    try:
        _move(data, folder / DATA)
    except (OSError, shutil.Error) as error:
        raise CannotWrite(f"the installation cannot be kept: {error}", where=str(folder / DATA)) from error


def _settings() -> str:
    """The demo's settings, with those that it does not read from a file."""
    return f"""\
{SETTINGS.read_text()}
[market]
mechanism = "{MARKET.mechanism}"
tariff = "{MARKET.tariff}"
gate_minutes = {MARKET.gate_minutes}
settle_after_minutes = {MARKET.settle_after_minutes}
final_days = {MARKET.final_days}

[billing]
name = "{SELLER.name}"
address = "{SELLER.address}"
tax_id = "{SELLER.tax_id}"

[api]
"""


def _move(source: Path, target: Path) -> None:
    """Move a folder; to another disk it is copied, with whom its files belong to: servers look at that."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(source, target, symlinks=True)
        for old in (source, *_below(source)):
            told = old.lstat()
            os.chown(target / old.relative_to(source), told.st_uid, told.st_gid, follow_symlinks=False)
        shutil.rmtree(source)


def _below(folder: Path) -> Iterator[Path]:
    return folder.rglob("*")

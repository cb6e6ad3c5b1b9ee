"""What stays of the demo for whoever wants to look around: the book, the invoices and the installation.

<folder>/campus.book.jsonl
<folder>/invoices
<folder>/data                   servers, keys, outboxes, as they were when the demo ended
<folder>/energy-ledger.toml     what starts them again
"""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from api.demo.campus import SETTINGS
from api.demo.market import MARKET, SELLER
from settlement.billing.files import CannotWrite, write_documents, write_file
from settlement.billing.invoice import Invoice

DATA = "data"
CONFIG = "energy-ledger.toml"


def check_room(folder: Path) -> None:
    """Return if an installation can be left in a folder. Raises `CannotWrite`."""
    try:
        for place in (folder / DATA, folder / CONFIG):
            if place.exists():
                raise CannotWrite(
                    "an installation is here already", where=str(place), hint="name another folder"
                )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error.strerror}", where=str(folder)) from error


def keep_all(folder: Path, data: Path, book: Path, invoices: Sequence[Invoice]) -> None:
    """Leave all there is in a folder; `data` moves there. Raises `CannotWrite`."""
    write_documents(invoices, folder / "invoices")
    write_file(folder / book.name, book.read_bytes())
    try:
        _move(data, folder / DATA)
    except (OSError, shutil.Error) as error:
        raise CannotWrite(f"the installation cannot be kept: {error}", where=str(folder / DATA)) from error
    write_file(folder / CONFIG, _settings().encode())  # last: what it starts is whole


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
        part = target.with_name(f"{target.name}.part")
        try:
            shutil.copytree(source, part, symlinks=True)
            for old in (source, *source.rglob("*")):
                told = old.lstat()
                os.chown(part / old.relative_to(source), told.st_uid, told.st_gid, follow_symlinks=False)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        shutil.rmtree(source)

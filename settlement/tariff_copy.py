"""A tariff of ours as files of a user's own, to put in what is missing."""

from collections.abc import Iterator
from pathlib import Path

from ledger.errors import BadInput
from settlement.tariff import tariff_documents


class CannotCopy(BadInput):
    """A file of a tariff cannot be written."""

    code = "cannot-copy"


def copy_tariff(name: str, folder: Path) -> Iterator[Path]:
    """Write a tariff's file and those that it refers to; the paths, as they are written.

    Raises `UnknownTariff`, and `CannotCopy` before anything is written where a file is there already.
    """
    documents = tariff_documents(name)
    texts = {f"{documents.name}.toml": documents.document, **documents.beside}
    for path in map(folder.joinpath, texts):
        if path.exists():
            raise CannotCopy(
                "this file is there already", where=str(path), hint="edit it, or name a folder: --to"
            )
    for place, text in texts.items():
        path = folder / place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CannotCopy(f"cannot be written: {error.strerror}", where=str(path)) from error
        yield path

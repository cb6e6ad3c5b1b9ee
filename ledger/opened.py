"""What a book was opened with, and that it never changes."""

from collections.abc import Mapping

from ledger.errors import BadInput
from ledger.events import CommunityOpened

KEYS = {
    "zone": "community.zone",
    "interval_minutes": "community.interval_minutes",
    "currency": "community.currency",
    "log_key": "community.origin",
}
"""Fields of the opening that stay as they are, and the key of the settings that tells each."""


class OtherOpening(BadInput):
    """The settings differ from what the book was opened with, which never changes."""

    code = "other-opening"


def check_opened(opened: CommunityOpened, wanted: Mapping[str, object]) -> None:
    """Return if `wanted`, fields of an opening, are those that the book has. Raises `OtherOpening`."""
    for name, key in KEYS.items():
        was = getattr(opened, name)
        if name in wanted and wanted[name] != was:
            raise OtherOpening(
                f"the book of {opened.community} was opened with {name} {was}, the settings ask for"
                f" {wanted[name]}",
                where=key,
                hint="these never change under a book: put the settings back, or open another community",
            )

"""How a book is opened: the keys a ledger holds, and the first event made from the settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ledger.event import Role
from ledger.events import CommunityOpened, KeyEnrolled, KeyRotated
from ledger.keys import KeyFile, PublicKey, SigningKey, b64
from ledger.note import Verifier
from ledger.registry import possession_text
from ledger.settings import Settings

SERVICE_PUBLIC = "service.pub"


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """The service's key (envelopes, receipts, blocks), the log's (checkpoints) and the operator's."""

    service: SigningKey
    log: SigningKey
    operator: SigningKey

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """The keys in `folder`, all made on the first start. Raises `KeyFile` when only some are there."""
        paths = [folder / f"{name}.pem" for name in ("service", "log", "operator")]
        missing = [path.name for path in paths if not path.exists()]
        if 0 < len(missing) < len(paths):
            raise KeyFile(
                f"{' and '.join(missing)} is missing beside the other keys",
                where=str(folder),
                hint="restore it from your copy: a new one would not be the one that the book is signed with",
            )
        keys = cls(*(SigningKey.load_or_create(path) for path in paths))
        public = folder / SERVICE_PUBLIC
        if not public.exists():
            public.write_text(f"{keys.service.public.bytes.hex()}\n")
        return keys


def service_public(folder: Path) -> PublicKey:
    """The public key of the ledger's service, which devices check receipts with.

    Raises `KeyFile` when the folder lacks it: on a device it is copied from the ledger.
    """
    path = folder / SERVICE_PUBLIC
    try:
        return PublicKey.from_hex(path.read_text().strip())
    except FileNotFoundError as error:
        raise KeyFile(
            "the ledger's public key is missing",
            where=str(path),
            hint=f"copy {SERVICE_PUBLIC} from the ledger's keys folder",
        ) from error
    except ValueError as error:
        raise KeyFile("this is not a public key in hex", where=str(path)) from error


def opening_event(settings: Settings, keys: LedgerKeys) -> CommunityOpened:
    """The first event of the community's book."""
    community = settings.community
    return CommunityOpened(
        community=community.id,
        name=community.name or community.id,
        zone=community.zone,
        interval_minutes=community.interval_minutes,
        currency=community.currency,
        log_key=str(Verifier(settings.origin, keys.log.public)),
        service_key=keys.service.public.bytes.hex(),
        operator_key=keys.operator.public.bytes.hex(),
    )


def enrolment(community: str, device: str, role: Role, key: SigningKey) -> KeyEnrolled:
    """What an operator signs to enrol `device`; holds the device's proof that it has the key."""
    return KeyEnrolled(device=device, role=role, **_possessed(community, device, key))


def rotation(community: str, device: str, key: SigningKey) -> KeyRotated:
    """What `device` signs with its old key to go on with the new `key`."""
    return KeyRotated(device=device, **_possessed(community, device, key))


def _possessed(community: str, device: str, key: SigningKey) -> dict[str, str]:
    """The fields by which an event tells a new key and shows that the device holds it."""
    public_hex = key.public.bytes.hex()
    possession = b64(key.sign(possession_text(community, device, public_hex)))
    return {"public_key": public_hex, "possession": possession}

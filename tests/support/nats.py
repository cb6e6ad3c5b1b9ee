"""A user of an embedded NATS who may do everything there: tests play all parts over one connection."""

import os
import signal
import time
from pathlib import Path

import nkeys  # type: ignore[import-untyped]  # the library has no types

from ledger.bus import BusSettings
from ledger.embedded import EmbeddedNats

SEED = bytes(nkeys.encode_seed(b"may do everything: tests only...", nkeys.PREFIX_BYTE_USER)).decode()
NKEY = nkeys.from_seed(bytearray(SEED.encode())).public_key.decode()
ROW = f"    {{nkey: {NKEY}}}\n"
EVERYTHING = f"authorization {{\n  users: [\n{ROW}  ]\n}}\n"
LOG = "Reloaded server configuration"


def with_everything(users: str) -> str:
    """A list with that user besides."""
    return users.replace("  ]\n", f"{ROW}  ]\n")


def seed_file(nats: EmbeddedNats) -> Path:
    """The seed of the user who may do everything in `nats`, which lets it in from now on."""
    if ROW not in nats.users_file.read_text():
        loads = nats.log_file.read_text().count(LOG)
        nats.users_file.write_text(EVERYTHING)
        os.kill(nats.pid, signal.SIGHUP)
        while nats.log_file.read_text().count(LOG) == loads:
            time.sleep(0.01)
    path = nats.folder / "everything.nk"
    if not path.exists():
        path.write_text(SEED)
        path.chmod(0o600)
    return path


def everything(nats: EmbeddedNats) -> BusSettings:
    """How to reach an embedded NATS as that user."""
    return BusSettings(url=nats.url, nkey_seed_file=str(seed_file(nats)), monitor_url=nats.monitor_url)

"""A community with meters and signed envelopes, made in memory for load."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledger.canonical import encode
from ledger.entry import EMPTY, Head
from ledger.envelope import NewRun, seal_envelope
from ledger.event import Event, new_salt
from ledger.events import BuildingAdded, FeederAdded, MeterAdded, MeterAssigned, MeterRead
from ledger.keys import SigningKey
from ledger.opening import enrolment

COMMUNITY = "bench"
GATEWAY = "gw-1"
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def write_settings(
    folder: Path, postgres_url: str, nats_url: str, monitor_url: str, *, relaxed: bool
) -> Path:
    """A settings file for services of their own processes."""
    path = folder / "energy-ledger.toml"
    path.write_text(
        f"""
[community]
id = "{COMMUNITY}"

[data]
folder = "data"

[postgres]
url = "{postgres_url}"

[nats]
url = "{nats_url}"
monitor_url = "{monitor_url}"
relaxed_sync = {str(relaxed).lower()}
"""
    )
    return path


def registry_events(gateway_key: SigningKey, meters: int) -> list[Event]:
    """One building with `meters` meters, read by one gateway."""
    since = BEGIN - timedelta(days=1)
    events: list[Event] = [
        FeederAdded(feeder="f", name="f"),
        BuildingAdded(building="b", feeder="f", name="b"),
        enrolment(COMMUNITY, GATEWAY, "gateway", gateway_key),
    ]
    for number in range(meters):
        events.append(
            MeterAdded(
                meter=f"m-{number}",
                role="connection",
                model="sdm630",
                rated_w=100_000,
                since=since,
                building="b",
            )
        )
        events.append(MeterAssigned(meter=f"m-{number}", device=GATEWAY, since=since))
    return events


def envelopes(key: SigningKey, meters: int, count: int, run_length: int) -> Iterator[bytes]:
    """`count` envelopes of one run each, meters in turn, `run_length` readings a run."""
    heads: dict[int, Head] = {}
    taken = [0] * meters
    salt = new_salt()
    for number in range(count):
        meter = number % meters
        bodies = []
        for _ in range(run_length):
            taken[meter] += 1
            bodies.append(
                encode(
                    MeterRead(
                        import_wh=taken[meter] * 1_234,
                        export_wh=taken[meter] * 56,
                        measured_at=BEGIN + taken[meter] * QUARTER,
                        quality="measured",
                        salt=salt,
                        raw="0000000000f42400000000000000e710",
                    )
                )
            )
        stream = f"meter/m-{meter}"
        data, after = seal_envelope(
            COMMUNITY, GATEWAY, key, [NewRun(stream, heads.get(meter, EMPTY), bodies)]
        )
        heads[meter] = after[stream]
        yield data

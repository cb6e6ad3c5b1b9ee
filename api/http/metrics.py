"""What the service tells of itself to Prometheus: its own requests, and how far the book's parts are.

Where several processes serve, each counts in files of a folder that they share, and whichever is asked tells
the sum: also of those that are no more, so that nothing that only grows ever falls.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from ledger.postgres.health import Health
from ledger.postgres.witnesses import WitnessStanding
from ledger.webhooks import Backlog

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
NEVER = -1.0


OF_COMMUNITY = {
    "events": "Events in the book.",
    "projection_lag_events": "Events that the projections have not applied yet.",
    "measured_age_seconds": "Since the newest interval of a meter's energy began; -1 before one.",
    "recorded_age_seconds": "Since the newest event was recorded.",
    "quarantine_open": "Messages in quarantine that nothing resolved yet.",
    "quarantine_dropped": "Messages of strangers that had to go from quarantine, ever.",
    "settled_age_seconds": "Since the end of the newest settled interval; -1 before the first.",
    "block_age_seconds": "Since the newest block was sealed; -1 before the first.",
    "anchor_age_seconds": "Since a block became final on a chain last; -1 where none is anchored.",
    "webhook_backlog": "Messages that webhooks have not taken yet.",
    "webhook_backlog_age_seconds": "Since the oldest of them was made; -1 where there is none.",
    "jetstream_stores": "Whether JetStream answers, syncs and stores what it is given: 1, or 0.",
    "webhooks_disabled": "Webhooks that are told nothing until somebody enables them.",
}
OF_WITNESS = {
    "witness_lag_events": "Events of the log that a witness has not cosigned yet.",
    "witness_age_seconds": "Since a witness cosigned last, by its clock; -1 before it did.",
}


class Metrics:
    """Those of one process, and of all that share `folder`, where there is one.

    Where the library counts it decides when it is imported, by `PROMETHEUS_MULTIPROC_DIR` in the environment.
    """

    def __init__(self, community: str, folder: Path | None = None) -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        self._community = community
        self._requests = Counter(
            "energy_ledger_requests", "Requests answered.", ("method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "energy_ledger_request_seconds", "What requests took.", ("method",), buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._of: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._deliveries = Counter(
            "energy_ledger_webhook_deliveries",
            "Tries to deliver to webhooks, by what became of each: delivered, retried, failed or gone.",
            ("outcome",),
            registry=self._registry,
        )
        self._receipts = Counter(
            "energy_ledger_receipts", "Receipts answered over HTTP.", ("code",), registry=self._registry
        )
        self._listeners = Gauge(
            "energy_ledger_listeners", "Who follows live streams now.", multiprocess_mode="livesum",
            registry=self._registry,
        )  # fmt: skip

    def request(self, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        found = self._of.get((method, status))
        if found is None:
            found = self._requests.labels(method, str(status)), self._seconds.labels(method)
            self._of[method, status] = found
        counted, took = found
        counted.inc()
        took.observe(seconds)

    def delivery(self, outcome: str) -> None:
        """A webhook was tried."""
        self._deliveries.labels(outcome).inc()

    def receipt(self, code: str) -> None:
        """An envelope was answered with a receipt that says this."""
        self._receipts.labels(code).inc()

    def listening(self, count: int) -> None:
        """So many follow live streams of this process now."""
        self._listeners.set(count)

    def text(
        self,
        health: Health,
        backlog: Backlog,
        witnesses: Sequence[WitnessStanding],
        now: datetime,
        *,
        is_stored: bool,
    ) -> bytes:
        """All of it, in Prometheus' own format."""
        ages = {
            "measured_age_seconds": health.measured_at,
            "recorded_age_seconds": health.recorded_at,
            "settled_age_seconds": health.settled_until,
            "block_age_seconds": health.sealed_at,
            "anchor_age_seconds": health.anchored_at,
            "webhook_backlog_age_seconds": backlog.oldest,
        }
        values = {
            "events": float(health.size),
            "projection_lag_events": float(health.lag),
            "quarantine_open": float(health.quarantine),
            "quarantine_dropped": float(health.quarantine_dropped),
            "webhook_backlog": float(backlog.waiting),
            "webhooks_disabled": float(backlog.disabled),
            "jetstream_stores": float(is_stored),
            **{name: NEVER if at is None else (now - at).total_seconds() for name, at in ages.items()},
        }
        gauges = [*_gauges(OF_COMMUNITY, ("community",), [((self._community,), values)])]
        of_witness = [
            (
                (self._community, each.name),
                {
                    "witness_lag_events": float(each.lag),
                    "witness_age_seconds": (now - each.made_at).total_seconds() if each.made_at else NEVER,
                },
            )
            for each in witnesses
        ]
        gauges += _gauges(OF_WITNESS, ("community", "witness"), of_witness)
        return self._counted() + generate_latest(_Looked(gauges))

    def _counted(self) -> bytes:
        if self._folder is None:
            return generate_latest(self._registry)
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all, str(self._folder))  # type: ignore[no-untyped-call]  # the library's
        return generate_latest(of_all)


def _gauges(
    texts: Mapping[str, str],
    labels: Sequence[str],
    values: Iterable[tuple[Sequence[str], Mapping[str, float]]],
) -> Iterator[GaugeMetricFamily]:
    for name, text in texts.items():
        family = GaugeMetricFamily(f"energy_ledger_{name}", text, labels=labels)
        for whose, found in values:
            family.add_metric(whose, found[name])
        yield family


class _Looked(Collector):
    """What the store said when somebody asked. No process counts it."""

    def __init__(self, gauges: Sequence[GaugeMetricFamily]) -> None:
        self._gauges = gauges

    def collect(self) -> Sequence[GaugeMetricFamily]:
        return self._gauges


def forget_process(folder: Path, process: int) -> None:
    """A process is no more: what it counted stays, what it held is gone."""
    mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]  # the library's

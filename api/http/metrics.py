"""What the service tells of itself to Prometheus: its own requests, and how far the book's parts are."""

from collections.abc import Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ledger.postgres.health import Health
from ledger.postgres.witnesses import WitnessStanding
from ledger.webhooks import Backlog

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
NEVER = -1.0


class Metrics:
    """One process's."""

    def __init__(self, community: str) -> None:
        self._registry = CollectorRegistry()
        self._community = community
        self._requests = Counter(
            "energy_ledger_requests", "Requests answered.", ("method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "energy_ledger_request_seconds", "What requests took.", ("method",), buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._deliveries = Counter(
            "energy_ledger_webhook_deliveries",
            "Tries to deliver to webhooks, by what became of each: delivered, retried, failed or gone.",
            ("outcome",),
            registry=self._registry,
        )
        self._receipts = Counter(
            "energy_ledger_receipts", "Receipts answered over HTTP.", ("code",), registry=self._registry
        )
        self._gauges = {
            name: Gauge(f"energy_ledger_{name}", text, ("community",), registry=self._registry)
            for name, text in {
                "events": "Events in the book.",
                "projection_lag_events": "Events that the projections have not applied yet.",
                "measured_age_seconds": "Since the newest interval of a meter's energy began; -1 before one.",
                "recorded_age_seconds": "Since the newest event was recorded.",
                "quarantine_open": "Messages in quarantine that nothing resolved yet.",
                "quarantine_dropped": "Messages of strangers that had to go from quarantine, ever.",
                "settled_age_seconds": "Since the end of the newest settled interval; -1 before the first.",
                "block_age_seconds": "Since the newest block was sealed; -1 before the first.",
                "webhook_backlog": "Messages that webhooks have not taken yet.",
                "webhook_backlog_age_seconds": "Since the oldest of them was made; -1 where there is none.",
                "webhooks_disabled": "Webhooks that are told nothing until somebody enables them.",
            }.items()
        }
        self._witness_lag, self._witness_age = (
            Gauge(f"energy_ledger_{name}", text, ("community", "witness"), registry=self._registry)
            for name, text in (
                ("witness_lag_events", "Events of the log that a witness has not cosigned yet."),
                ("witness_age_seconds", "Since a witness cosigned last, by its clock; -1 before it did."),
            )
        )

    def request(self, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        self._requests.labels(method, str(status)).inc()
        self._seconds.labels(method).observe(seconds)

    def delivery(self, outcome: str) -> None:
        """A webhook was tried."""
        self._deliveries.labels(outcome).inc()

    def receipt(self, code: str) -> None:
        """An envelope was answered with a receipt that says this."""
        self._receipts.labels(code).inc()

    def text(
        self, health: Health, backlog: Backlog, witnesses: Sequence[WitnessStanding], now: datetime
    ) -> bytes:
        """All of it, in Prometheus' own format."""
        ages = {
            "measured_age_seconds": health.measured_at,
            "recorded_age_seconds": health.recorded_at,
            "settled_age_seconds": health.settled_until,
            "block_age_seconds": health.sealed_at,
            "webhook_backlog_age_seconds": backlog.oldest,
        }
        values = {
            "events": float(health.size),
            "projection_lag_events": float(health.lag),
            "quarantine_open": float(health.quarantine),
            "quarantine_dropped": float(health.quarantine_dropped),
            "webhook_backlog": float(backlog.waiting),
            "webhooks_disabled": float(backlog.disabled),
            **{name: NEVER if at is None else (now - at).total_seconds() for name, at in ages.items()},
        }
        for name, value in values.items():
            self._gauges[name].labels(self._community).set(value)
        for each in witnesses:
            age = NEVER if each.made_at is None else (now - each.made_at).total_seconds()
            self._witness_lag.labels(self._community, each.name).set(each.lag)
            self._witness_age.labels(self._community, each.name).set(age)
        return generate_latest(self._registry)

"""Whether JetStream stores what it is given.

Two say so. The last envelopes: one that was refused or not answered counts for half a minute, unless one
was stored since; so a process that is sent nothing, as it says that it cannot store, comes back by itself.
And the server: its page /healthz tells a write that failed, which ends all storing until it is restarted,
also when the disk has room again. Nothing is stored to find out.
"""

import json
import urllib.error
import urllib.request
from typing import Any

from ledger.bus.ear import BusUnavailable
from ledger.clock import monotonic_seconds

ANSWER_SECONDS = 5
COUNTS_SECONDS = 30


class Stores:
    """What became of the last envelopes of one connection."""

    def __init__(self) -> None:
        self._stored_at: float | None = None
        self._refusal: tuple[float, str] | None = None

    def stored(self) -> None:
        """One was stored."""
        self._stored_at, self._refusal = monotonic_seconds(), None

    def refused(self, what: str, begun: float) -> None:
        """One that was sent then was not stored. It says nothing where one that was sent later was."""
        if self._stored_at is None or self._stored_at < begun:
            self._refusal = monotonic_seconds(), what

    def lately(self) -> str:
        """Why the last one was not stored; empty if it was, or if that is long ago."""
        if self._refusal is None or monotonic_seconds() - self._refusal[0] > COUNTS_SECONDS:
            return ""
        return self._refusal[1]


def unwell(monitor_url: str) -> str:
    """What the server says is wrong with it; empty if it is well. Raises `BusUnavailable`."""
    health = page_of(monitor_url, "/healthz")
    return (
        "" if health.get("status") == "ok" else str(health.get("error") or health.get("status") or "unwell")
    )


def page_of(monitor_url: str, path: str) -> dict[str, Any]:
    """A page of the server's monitoring. Raises `BusUnavailable`."""
    url = f"{monitor_url}{path}"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as reply:  # noqa: S310 - from our own settings
            text = reply.read()
    except urllib.error.HTTPError as error:
        text = error.read()  # who is unwell says so with 503
    except OSError as error:
        raise BusUnavailable("the monitoring port of NATS does not answer", where=url) from error
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise BusUnavailable("the monitoring port of NATS does not speak JSON", where=url) from error
    return answer

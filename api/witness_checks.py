"""The doctor's checks of witnesses: who has cosigned how much of the log, and how long ago."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from api.finding import Finding
from ledger.postgres.witnesses import WitnessStanding
from ledger.words import counted

LATE = timedelta(hours=1)
_HINT = (
    "the log of `up` or `serve` says why; who runs the witness must know this log's verifier key, which"
    " `energy-ledger status` shows"
)


def witness_findings(witnesses: Sequence[WitnessStanding], quorum: int, now: datetime) -> Iterator[Finding]:
    """What there is to say of those whom the settings name."""
    late = 0
    for each in witnesses:
        if each.made_at is None:
            yield Finding("witness", "odd", f"{each.name} has cosigned nothing yet", _HINT)
        elif each.lag and now - each.made_at > LATE:
            behind = f"{counted(each.lag, 'event')} behind since {each.made_at:%Y-%m-%d %H:%M} UTC"
            yield Finding("witness", "odd", f"{each.name} is {behind}", _HINT)
        else:
            yield Finding(
                "witness", "well", f"{each.name} has cosigned {each.size:,} of {each.log_size:,} events"
            )
            continue
        late += 1
    if len(witnesses) - late < quorum:
        what = f"{len(witnesses) - late} of the {quorum} that it takes cosign: others are given nothing new"
        yield Finding("witnesses", "wrong", what, "mend that, or lower `quorum` under [log]")

"""What was refused, as people read it: each code with what to do about it, and the messages under it."""

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.clock import rfc3339
from ledger.words import counted

WHAT_TO_DO: Mapping[str, str] = {
    "malformed": "the device and the ledger speak different versions: bring the older one up to date",
    "not-canonical": "the device writes messages in a form of its own: bring its program up to date",
    "not-permitted": "the meter was not that device's then: see whom the registry names as its reader",
    "unknown-device": "enrol its key: `energy-ledger device request` there, then `device enrol` here",
    "key-revoked": "give the device the key that counts; if it has it, find out who else holds the old one",
    "bad-signature": "changed on the way, or signed with another key than they name: check the key file",
    "clock-skew": "the device's clock is ahead of the ledger's by more than five minutes: set up NTP on both",
    "gate-closed": "orders begin, end and change for intervals ahead only: send it again for a later one",
    "sequence-gap": "they wait for earlier ones: see that the device still runs and sends",
    "chain-broken": "the device chains these anew by itself; if it goes on, two devices write one stream",
    "fork": "two devices sign different readings for one meter: find out who else has the key, and revoke it",
    "contradiction": "the book says otherwise: correct the settings or the request, then send it again",
}
"""One line for each code that `admission` refuses with."""

RESOLVED: Mapping[str | None, str] = {
    None: "nothing: it was recorded after all",
    "released": "nothing: it was sent again, and was not refused since",
    "rejected": "nothing: an operator has rejected it",
}
"""The same for what does not wait any longer, by who ended that: the writer itself, or a person."""

UNKNOWN_CODE = "a newer version refused these: `energy-ledger quarantine` of that version knows why"


def what_to_do(row: Mapping[str, Any]) -> str:
    """What to do about one message."""
    if row["resolved_at"] is None:
        return WHAT_TO_DO.get(row["code"], UNKNOWN_CODE)
    if row["refused_as"] is not None and row["resolution"] != "rejected":
        return (
            f"nothing here: it was judged again and refused with `{row['refused_as']}`, under which it stands"
        )
    return RESOLVED[row["resolution"]]


def listing(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines to print, in the order of `rows`; what calls for the same stands together."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["code"], what_to_do(row)), []).append(row)
    lines: list[str] = []
    for (code, to_do), messages in groups.items():
        lines += [f"{code}, {counted(len(messages), 'message')}", f"  what to do: {to_do}"]
        lines += map(_line, messages)
    return lines


def dropped_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines about what strangers left and had to go."""
    return [
        f"{row['code']}: {counted(row['messages'], 'message')} of strangers went, {row['bytes']:,} bytes,"
        f" being too old or too many; the newest {rfc3339(row['last_at'])}"
        for row in rows
    ]


def _line(row: Mapping[str, Any]) -> str:
    place = "" if row["stream"] is None else f" {row['stream']} {row['sequence']}"
    times = "" if row["times"] == 1 else f", {row['times']:,} times"
    return f"  {rfc3339(row['last_at'])} {row['device']}{place}{times}: {row['what']}"

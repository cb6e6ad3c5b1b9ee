"""When to look at what strangers have left in quarantine."""

from datetime import UTC, datetime

from ledger.batch import QuarantineRow
from ledger.strangers import LOOK_AFTER_BYTES, LOOK_AFTER_MESSAGES, LOOK_EVERY, RETRY_AFTER, Strangers

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def row(code: str, size: int = 1) -> QuarantineRow:
    return ("campus", b"", code, "gw-1", None, None, "", b"x" * size, NOW)


def test_it_is_looked_at_first_and_every_hour() -> None:
    strangers = Strangers()
    assert strangers.is_due(NOW)
    strangers.looked(NOW)
    assert not strangers.is_due(NOW)
    assert strangers.is_due(NOW + LOOK_EVERY)


def test_after_a_failure_it_is_looked_at_in_a_while() -> None:
    strangers = Strangers()
    strangers.failed(NOW)
    assert not strangers.is_due(NOW)
    assert strangers.is_due(NOW + RETRY_AFTER)
    strangers.looked(NOW + RETRY_AFTER)
    assert not strangers.is_due(NOW + RETRY_AFTER)


def test_it_is_looked_at_after_many_messages_or_bytes_of_strangers_and_of_nobody_else() -> None:
    for many in ([row("unknown-device")] * LOOK_AFTER_MESSAGES, [row("malformed", LOOK_AFTER_BYTES)]):
        strangers = Strangers()
        strangers.looked(NOW)
        strangers.note([row("fork", LOOK_AFTER_BYTES), row("sequence-gap")] * LOOK_AFTER_MESSAGES)
        strangers.note(many[1:])
        assert not strangers.is_due(NOW)
        strangers.note(many[:1])
        assert strangers.is_due(NOW)
        strangers.looked(NOW)
        assert not strangers.is_due(NOW)

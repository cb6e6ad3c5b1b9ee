"""Keys: their form, until when they count, and that their secret is not shown."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger.access import TOKEN_LENGTH_MAX, AccessKey, new_key, parts, without_secrets

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def key_of(expires_at: datetime = NOW + DAY, revoked_at: datetime | None = None) -> AccessKey:
    made = new_key()
    return AccessKey(
        made.prefix, made.digest, "campus", "operator", None, "", NOW - DAY, expires_at, revoked_at
    )


def test_a_key_counts_until_it_expires_or_is_revoked() -> None:
    assert key_of().counts(NOW)
    assert not key_of(expires_at=NOW).counts(NOW)
    assert not key_of(revoked_at=NOW).counts(NOW)
    assert key_of(revoked_at=NOW + timedelta(hours=1)).counts(NOW), "one that goes on for a while"


def test_only_its_own_secret_opens_a_key() -> None:
    made, other = new_key(), new_key()
    row = key_of()._replace(prefix=made.prefix, digest=made.digest)
    split = parts(made.token)
    assert split is not None
    assert row.opens(split[1])
    assert not row.opens(other.token.partition(".")[2])
    assert not row.opens(split[1][:-1])
    assert split[1].encode() not in made.digest


@given(st.text(max_size=200))
def test_what_has_not_the_form_of_a_token_has_no_parts(text: str) -> None:
    found = parts(text)
    if found is not None:
        assert len(text) <= TOKEN_LENGTH_MAX
        assert ".".join(found) == text
        assert all(found)


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_token_is_hidden_wherever_it_stands(before: str, after: str) -> None:
    made = new_key()
    shown = without_secrets(f"{before} {made.token} {after}")
    assert made.token.partition(".")[2] not in shown
    assert made.prefix in shown


def test_other_texts_stay_as_they_are() -> None:
    for text in ("/v1/communities/campus/buildings/b-1", "2026-06-01T00:00:00.000Z", "0123456789ab.csv"):
        assert without_secrets(text) == text

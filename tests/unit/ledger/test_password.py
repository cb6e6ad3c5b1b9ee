"""Which passwords are taken, and that one is the same however it is typed."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.password import LENGTH_MAX, TYPED_LENGTH_MAX, PasswordUnfit, is_common, new_password, prepared
from ledger.people import NameUnfit, csrf_token, is_csrf_token, new_session_token, person_name, session_digest


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("correct horse battery staple", "correct horse battery staple"),
        ("Correct Horse", "Correct Horse"),  # no folding of case
        ("\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5"),
        ("Jack of \u2666s", "Jack of \u2666s"),
        ("foo\u1680bar", "foo bar"),  # OGHAM SPACE MARK becomes a space
        ("a\u030a", "\u00e5"),  # NFC
        ("", None),
        ("my cat is a \u0009by", None),  # no control
        ("\ud800", None),
        ("zero\u200bwidth", None),
        ("x" * (TYPED_LENGTH_MAX + 1), None),
    ],
)
def test_the_examples_of_rfc_8265_are_told_as_there(typed: str, found: str | None) -> None:
    assert prepared(typed) == found


@given(st.text(max_size=60))
def test_one_form_has_one_form(typed: str) -> None:
    found = prepared(typed)
    if found is not None:
        assert prepared(found) == found
        assert prepared(unicodedata.normalize("NFD", typed)) == found


@pytest.mark.parametrize(
    "typed",
    ["mango under the ferry", "มะม่วงใต้เรือข้ามฟาก", "k3Vq-9pLm.Tz2", "a" * 50 + "bcdef" * 15],
)
def test_what_is_long_and_not_common_is_taken_without_further_rules(typed: str) -> None:
    assert new_password(typed, "lek@example.org") == typed


@pytest.mark.parametrize(
    "typed",
    [
        "short", "eleven char", "mango" * LENGTH_MAX, "lek.somchai@example.org",
        "LEK.Somchai@example.org", "mango\tunder the ferry", "123456789012",
        "012345678901234", "aaaaaaaaaaaaaaa", "abababababab",
        "qwertyuiop[]", "qwertyuiop12", "Password1234", "P@ssw0rd2026!", "passwordpassword", "letmein12345!",
        "energy-ledger-1", "1qaz2wsx3edc", "zyxwvutsrqpon", "administrator", "iloveyou2026", "918273645510",
    ],
)  # fmt: skip
def test_what_others_would_try_first_is_refused(typed: str) -> None:
    with pytest.raises(PasswordUnfit):
        new_password(typed, "lek.somchai@example.org")


def test_a_name_before_the_at_is_no_password_either() -> None:
    with pytest.raises(PasswordUnfit):
        new_password("Lek.Of.The.School", "lek.of.the.school@example.org")
    assert not is_common("lek.of.the.school")


@pytest.mark.parametrize(("text", "name"), [(" Lek@Example.org ", "lek@example.org"), ("b-1", "b-1")])
def test_a_name_is_the_same_in_capitals(text: str, name: str) -> None:
    assert person_name(text) == name


@pytest.mark.parametrize("text", ["", "a", "-a", "a b", "l\u00e9k", "x" * 101, "a\nb", "a/b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(NameUnfit):
        person_name(text)


def test_a_csrf_token_follows_from_its_session_alone() -> None:
    token, other = new_session_token(), new_session_token()
    assert is_csrf_token(csrf_token(token), token)
    assert not is_csrf_token(csrf_token(other), token)
    assert not is_csrf_token("", token)
    assert session_digest(token) != session_digest(other)
    assert session_digest(token[:-1]) is None

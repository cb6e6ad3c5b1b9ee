"""Which passwords are taken, and how one is brought into the form that is hashed (RFC 8265, OpaqueString).

A password counts by its characters and not by how a keyboard makes them: `ü` typed as one character or as two
is the same. No rule asks for capitals or digits, which only makes people choose alike (NIST SP 800-63B,
3.1.1.2): long, and none of those that everybody tries first.
"""

import re
import unicodedata

from ledger.errors import BadInput

LENGTH_MIN = 12
LENGTH_MAX = 128
TYPED_LENGTH_MAX = 4 * LENGTH_MAX
"""What is longer as it comes in is not even looked at."""

_DISALLOWED = {"Cc", "Cf", "Cs", "Co", "Cn"}
"""Categories outside of the FreeformClass: controls, invisible ones, surrogates, private use, unassigned
(RFC 8264, section 4.3.3)."""
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_SPELT = str.maketrans("@430157$!", "aaeoistsi")
_RUNS = (
    "01234567890" * 3, "abcdefghijklmnopqrstuvwxyz" * 2, "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn",
)  # fmt: skip
_COMMON = frozenset((
    "admin", "administrator", "asdfgh", "asdfghjkl", "bangkok", "baseball", "batman", "changeme",
    "computer", "correcthorsebatterystaple", "default", "dragon", "electricity", "energy", "energyledger",
    "facebook", "football", "freedom", "google", "guest", "iloveyou", "internet", "ledger", "letmein",
    "login", "master", "monkey", "mustang", "passphrase", "password", "passwort", "pokemon", "princess",
    "qwerty", "qwertyuiop", "samsung", "secret", "shadow", "solar", "starwars", "sunshine", "superman",
    "thailand", "trustno", "welcome", "whatever", "zxcvbnm",
))  # fmt: skip


class PasswordUnfit(BadInput):
    """A password that is not taken."""

    code = "password-unfit"


def prepared(typed: str) -> str | None:
    """A password as it is hashed; none for a text that can be none (RFC 8265, section 4.2.2)."""
    if not typed or len(typed) > TYPED_LENGTH_MAX:
        return None
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in typed)
    found = unicodedata.normalize("NFC", spaced)
    return None if any(unicodedata.category(each) in _DISALLOWED for each in found) else found


def new_password(typed: str, name: str) -> str:
    """A password that somebody has chosen, as it is hashed. Raises `PasswordUnfit`."""
    found = prepared(typed)
    if found is None:
        raise PasswordUnfit("a password has characters that can be seen, and spaces", where="password")
    if not LENGTH_MIN <= len(found) <= LENGTH_MAX:
        raise PasswordUnfit(
            f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters", where="password",
            hint="a few words that nobody would say in one breath are easy to remember",
        )  # fmt: skip
    folded = found.casefold()
    if folded in {name, name.partition("@")[0]} or is_common(folded):
        raise PasswordUnfit(
            "this password is among the first that others would try", where="password", hint="take another"
        )
    return found


def is_common(folded: str) -> bool:
    """Whether a password is one that is tried first: few characters again and again, a row of the keyboard,
    or a common word with figures around it, however often and however it is spelt."""
    if len(set(folded)) <= 4 or any(folded in run or folded[::-1] in run for run in _RUNS):
        return True
    trimmed = _AROUND.sub("", folded)
    for word in {trimmed, trimmed.translate(_SPELT)}:
        core = re.sub(r"[\W\d_]+", "", word)
        if not core or core in _COMMON or _once(core) in _COMMON:
            return True
    return False


def _once(word: str) -> str:
    """What a word repeats, or the word."""
    return word[: (word + word).find(word, 1)]

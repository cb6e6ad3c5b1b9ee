"""What stands on a document, in Thai and in English, and how Thai writes dates and amounts of money."""

import tomllib
from datetime import date
from functools import cache
from pathlib import Path

import msgspec

BUDDHIST_ERA = 543

_ZERO = "ศูนย์"
_DIGITS = ("", "หนึ่ง", "สอง", "สาม", "สี่", "ห้า", "หก", "เจ็ด", "แปด", "เก้า")
_PLACES = ("", "สิบ", "ร้อย", "พัน", "หมื่น", "แสน")
_MILLION = "ล้าน"
_IRREGULAR = {(1, 1): "สิบ", (1, 2): "ยี่สิบ"}
_LAST_ONE = "เอ็ด"


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same in both languages."""

    th: str
    en: str


class Wording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The labels by name: of documents, of lines by their kind, of everything else."""

    months: tuple[str, ...]
    titles: dict[str, Label]
    lines: dict[str, Label]
    words: dict[str, Label]
    notes: dict[str, Label]


@cache
def wording() -> Wording:
    """All labels."""
    path = Path(__file__).with_name("wording.toml")
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Wording)


def thai_date(day: date) -> str:
    """`31 พฤษภาคม 2569`: the year is that of the Buddhist era."""
    return f"{day.day} {wording().months[day.month - 1]} {day.year + BUDDHIST_ERA}"


def baht_text(satang: int) -> str:
    """An amount that is not negative in words, as it is written on Thai invoices and cheques.

    A one at the end of a larger number is `เอ็ด` (Office of the Royal Society, on reading numbers).
    """
    baht, rest = divmod(satang, 100)
    if not rest:
        return f"{_thai_number(baht) or _ZERO}บาทถ้วน"
    return f"{_thai_number(baht)}{'บาท' if baht else ''}{_thai_number(rest)}สตางค์"


def _thai_number(number: int) -> str:
    """The number in words; nothing for zero."""
    millions, rest = divmod(number, 10 ** len(_PLACES))
    words = _thai_number(millions) + _MILLION if millions else ""
    digits = [int(digit) for digit in str(rest)]
    for place, digit in zip(reversed(range(len(digits))), digits, strict=True):
        if digit:
            words += _IRREGULAR.get((place, digit), _DIGITS[digit] + _PLACES[place])
    return words.removesuffix(_DIGITS[1]) + _LAST_ONE if number > 1 and number % 10 == 1 else words

"""A value of a TOML file is found by the path that an error tells."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement.tariff import FOLDER
from settlement.toml_place import line_of

TEXT = """# rules
mechanism = "x"

[parameters]
keys = { a = 1 }        # 5
split.b = 2

[buildings."north wing"]
feeder = "1"            # 9
[buildings.b]
feeder = "2"

[[wheeling]]
from = "a"              # 14
[[wheeling]]
  from = "b"
  [[wheeling.steps]]    # 17
  to = 1
[[wheeling]]
[[wheeling.steps]]      # 20
to = 1
[[wheeling.steps]]
to = 2                  # 23
"""
INLINE = r"""
values = [ # [not] { a = header }
    { from = 2020-01-01 00:00:00, until = "a ] } , #", per_kwh = 1 },

    { from = 2020-01-02, per_kwh = "x" }, { from = 1 },
]
days = [1, 2,
  [3],
  4]
text = 'x'  # 10
lines = QQQ
[[lines]]\QQ
QQQQQ
'quoted "key"' . b = { c = [ {}, {}, [
  { d = 1 } ] ], e = 2 }
[[ tables ]]            # 16
values = [
  1,
]
[tables.below]          # 20
a = ['''"'''', '\', "\\",
  'b']
""".replace("Q", '"')


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("mechanism", 2),
        ("parameters", 4),
        ("parameters.keys", 5),
        ("parameters.keys.a", 5),
        ("parameters.keys.b", 5),  # the key that should hold it
        ("parameters.split.b", 6),
        ("parameters.kind", 4),
        ("buildings[...].feeder", 9),
        ("wheeling[0].from", 14),
        ("wheeling[1]", 15),
        ("wheeling[1].from", 16),
        ("wheeling[1].steps[0].to", 18),
        ("wheeling[2].steps[0].to", 21),
        ("wheeling[2].steps[1].to", 23),
        ("wheeling[1].fee", 15),
        ("nothing", 0),
        ("", 0),
    ],
)
def test_the_line_of_a_place(place: str, line: int) -> None:
    assert line_of(TEXT, place) == line


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("values", 2),
        ("values[0]", 3),
        ("values[0].per_kwh", 3),
        ("values[1].per_kwh", 5),
        ("values[1].until", 5),
        ("values[2].from", 5),
        ("values[3]", 2),
        ("days[1]", 7),
        ("days[2]", 8),
        ("days[2][0]", 8),
        ("days[3]", 9),
        ("text", 10),
        ("lines", 11),
        ("lines[0]", 11),
        ("[...].b.c[1]", 14),
        ("[...].b.c[2][0].d", 15),
        ("[...].b.e", 15),
        ("tables[0]", 16),
        ("tables[0].values[0]", 18),
        ("tables[0].below.a[2]", 21),
        ("tables[0].below.a[3]", 22),
    ],
)
def test_the_line_of_a_place_within_a_value_is_its_own(place: str, line: int) -> None:
    assert tomllib.loads(INLINE)
    assert line_of(INLINE, place) == line
    assert line_of(INLINE.replace("\n", "\r\n"), place) == line


SHIPPED = sorted(FOLDER.rglob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_value_of_the_shipped_files_is_found_where_it_is_written(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    found = list(_places(tomllib.loads(text), ""))
    assert found
    for place, written in found:
        assert written in lines[line_of(text, place) - 1].lower()


def _places(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Every place of a value, and what its line says."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield f"{place}.{key}".lstrip("."), key
            yield from _places(each, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _places(each, f"{place}[{index}]")
    else:
        yield place, str(value).lower()

"""A value of a TOML file is found by the path that an error tells."""

import pytest

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


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("mechanism", 2),
        ("parameters", 4),
        ("parameters.keys", 5),
        ("parameters.keys.a", 5),  # in an inline table: the line of the key that holds it
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

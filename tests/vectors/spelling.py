"""Vectors of canonical JSON: how one value may be spelt, and what is refused."""

import json
from typing import Any

from tests.vectors.primitives import canonical

SPELLINGS = {
    "keys are sorted by code point": '{"b":1,"a":2,"B":3,"A":4,"10":5,"1":6,"":7,"_":8,"~":9}',
    "keys that begin alike": '{"ab":1,"a":2,"a.b":3,"a b":4,"a\\tb":5}',
    "white space goes": ' { "a" : [ 1 , 2 ] ,\n\t"b" : { } }\r\n',
    "control characters": '"' + "".join(f"\\u{code:04X}" for code in range(0x20)) + '"',
    "quote, backslash and slash": '"\\u0022 \\u005C \\/ /"',
    "delete is no control character": '"\\u007F"',
    "Thai": '"\\u0e21\\u0e34\\u0e40\\u0e15\\u0e2d\\u0e23\\u0e4c\\u0e44\\u0e1f\\u0e1f\\u0e49\\u0e32"',
    "line and paragraph separators stay as they are": '"\\u2028\\u2029"',
    "beyond the basic plane": '"\\uD83C\\uDF1E"',
    "no normal form is applied": '["\\u00e9","e\\u0301"]',
    "the noncharacter and the byte order mark": '"\\uFFFE\\uFEFF"',
    "largest and smallest integer": "[9007199254740991,-9007199254740991]",
    "zero": "0",
    "literals": "[null,true,false]",
    "nothing in anything": '[[],{},"",[[]],{"a":{}}]',
}

REFUSED = {
    "a float": (b"1.5", "malformed"),
    "a float without a fraction": (b"1.0", "malformed"),
    "an exponent": (b"1e2", "malformed"),
    "a float deep inside": (b'{"a":[{"b":0.1}]}', "malformed"),
    "2^53": (b"9007199254740992", "malformed"),
    "-2^53": (b"-9007199254740992", "malformed"),
    "an integer of 400 digits": (b"1" + b"0" * 399, "malformed"),
    "NaN": (b"NaN", "malformed"),
    "Infinity": (b"Infinity", "malformed"),
    "a key beyond ASCII": ('{"é":1}'.encode(), "malformed"),
    "a lone surrogate": (b'"\\ud83c"', "malformed"),
    "surrogates in the wrong order": (b'"\\udf1e\\ud83c"', "malformed"),
    "invalid UTF-8": (b'"\xff"', "malformed"),
    "an overlong slash": (b'"\xc0\xaf"', "malformed"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "malformed"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "malformed"),
    "a raw control character": (b'"\x1f"', "malformed"),
    "nothing": (b"", "malformed"),
    "two values": (b"1 2", "malformed"),
    "a comma too many": (b"[1,]", "malformed"),
    "single quotes": (b"{'a':1}", "malformed"),
    "a comment": (b"{}//", "malformed"),
    "leading zeros": (b"01", "malformed"),
    "a plus sign": (b"+1", "malformed"),
    "minus zero": (b"-0", "not-canonical"),
    "unsorted keys": (b'{"b":1,"a":2}', "not-canonical"),
    "a key twice": (b'{"a":1,"a":1}', "not-canonical"),
    "a space": (b'{"a": 1}', "not-canonical"),
    "a newline at the end": (b"{}\n", "not-canonical"),
    "an escape that is not needed": (b'"\\u0041"', "not-canonical"),
    "an escaped slash": (b'"\\/"', "not-canonical"),
    "an upper-case escape": (b'"\\u001F"', "not-canonical"),
    "a long escape for a newline": (b'"\\u000a"', "not-canonical"),
    "an escaped key": (b'{"\\u0061":1}', "not-canonical"),
}


def canonical_vectors() -> dict[str, Any]:
    return {
        "about": "RFC 8785 narrowed to integers below 2^53 and ASCII keys. Each `input` is JSON; its "
        "canonical form is the UTF-8 of `canonical`. Each of `refused` is refused with the code beside it.",
        "accepted": [
            {"what": what, "input": text, "canonical": canonical(json.loads(text)).decode()}
            for what, text in SPELLINGS.items()
        ],
        "refused": [
            {"what": what, "hex": data.hex(), "code": code} for what, (data, code) in REFUSED.items()
        ],
    }

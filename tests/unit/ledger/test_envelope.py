"""An envelope is read whole, in one spelling, and its signature covers all that it says."""

import json

import pytest

from ledger.canonical import Malformed, NotCanonical, decode, encode
from ledger.entry import EMPTY, Head, chain
from ledger.envelope import (
    EVENTS_MAX,
    NewRun,
    RunHead,
    read_envelope,
    run_links,
    seal_envelope,
    signature_bytes,
    signed_text,
)
from ledger.keys import b64
from tests.unit.ledger.campus import COMMUNITY, bodies_of, key, readings

KEY = key(5)
HEAD = Head(7, bytes.fromhex("ab" * 32))
RUNS = [
    NewRun("meter/m-1", EMPTY, bodies_of(readings(0, 3))),
    NewRun("meter/m-2", HEAD, bodies_of(readings(0, 2))),
]
SEALED, HEADS = seal_envelope(COMMUNITY, "gw-1", KEY, RUNS)


def changed(**fields: object) -> bytes:
    """The envelope with other fields, canonical; those of `...` are left out."""
    envelope = {**decode(SEALED), **fields}
    return encode({name: value for name, value in envelope.items() if value is not ...})


def with_run(**fields: object) -> bytes:
    """The envelope with other fields in its first run."""
    first, *rest = decode(SEALED)["runs"]
    run = {name: value for name, value in {**first, **fields}.items() if value is not ...}
    return changed(runs=[run, *rest])


def test_what_was_sealed_is_read() -> None:
    envelope = read_envelope(SEALED)
    assert (envelope.community, envelope.device, envelope.key) == (COMMUNITY, "gw-1", KEY.public.id)
    assert [run.stream for run in envelope.runs] == ["meter/m-1", "meter/m-2"]
    assert [(run.first, run.last) for run in envelope.runs] == [(1, 3), (8, 9)]
    assert [bytes(body) for body in envelope.runs[0].bodies] == RUNS[0].bodies
    assert encode(envelope) == SEALED
    assert decode(SEALED) == json.loads(SEALED)


def test_sealing_tells_the_heads_from_which_the_next_envelope_goes_on() -> None:
    whole = chain(COMMUNITY, "meter/m-1", EMPTY, bodies_of(readings(0, 5)))
    assert HEADS["meter/m-1"] == Head(3, whole[2].entry_hash)
    _, heads = seal_envelope(
        COMMUNITY, "gw-1", KEY, [NewRun("meter/m-1", HEADS["meter/m-1"], bodies_of(readings(3, 5)))]
    )
    assert heads["meter/m-1"] == Head(5, whole[4].entry_hash)


def test_the_signature_covers_the_head_of_every_run() -> None:
    envelope = read_envelope(SEALED)
    heads = [
        RunHead(run.stream, run.first, run.last, run_links(COMMUNITY, run)[-1].entry_hash)
        for run in envelope.runs
    ]
    text = signed_text(COMMUNITY, "gw-1", heads)
    assert text.decode() == (
        "energy-ledger/envelope/v1\ncampus\ngw-1\n"
        f"meter/m-1 1 3 {HEADS['meter/m-1'].hash.hex()}\nmeter/m-2 8 9 {HEADS['meter/m-2'].hash.hex()}\n"
    )
    assert KEY.public.verifies(signature_bytes(envelope), text)


@pytest.mark.parametrize(
    ("community", "device", "stream"),
    [
        ("Campus", "gw-1", "meter/m-1"),
        ("campus\n", "gw-1", "meter/m-1"),
        ("campus", "", "meter/m-1"),
        ("campus", "gw 1", "meter/m-1"),
        ("campus", "gw-1\nmeter/m-1 1 1 ", "meter/m-1"),
        ("campus", "gw-1", "meter/m-1\n"),
        ("campus", "gw-1", "meter/m 1"),
        ("campus", "gw-1", "a/b/c"),
    ],
)
def test_nothing_is_sealed_under_a_name_that_the_book_does_not_allow(
    community: str, device: str, stream: str
) -> None:
    with pytest.raises(Malformed, match="not a name"):
        seal_envelope(community, device, KEY, [NewRun(stream, EMPTY, RUNS[0].bodies)])


MALFORMED = {
    "nothing": b"",
    "no JSON": b"\x00" + SEALED,
    "cut short": SEALED[:-1],
    "two envelopes": SEALED * 2,
    "a list": b"[" + SEALED + b"]",
    "a byte order mark": b"\xef\xbb\xbf" + SEALED,
    "in UTF-16": SEALED.decode().encode("utf-16"),
    "no community": changed(community=...),
    "community null": changed(community=None),
    "community of another kind": changed(community=1),
    "community in capitals": changed(community="Campus"),
    "community with a newline": changed(community="campus\n"),
    "community empty": changed(community=""),
    "community too long": changed(community="a" * 65),
    "no device": changed(device=...),
    "device with a space": changed(device="gw 1"),
    "device with a newline": changed(device="gw-1\n"),
    "device with a slash": changed(device="gw/1"),
    "no key": changed(key=...),
    "key in capitals": changed(key=KEY.public.id.upper()),
    "key too short": changed(key=KEY.public.id[:-1]),
    "key too long": changed(key=KEY.public.id + "0"),
    "key with a newline": changed(key=KEY.public.id + "\n"),
    "no signature": changed(signature=...),
    "signature empty": changed(signature=""),
    "signature too short": changed(signature=b64(bytes(63))),
    "signature too long": changed(signature=b64(bytes(67))),
    "signature in hex": changed(signature="00" * 64),
    "one field more": changed(extra=1),
    "a field misspelt": changed(Community="campus"),
    "no runs": changed(runs=...),
    "runs empty": changed(runs=[]),
    "runs null": changed(runs=None),
    "runs of another kind": changed(runs={}),
    "a run of another kind": changed(runs=[1]),
    "a stream twice": changed(runs=[decode(SEALED)["runs"][0]] * 2),
    "run without bodies": with_run(bodies=...),
    "run with no body": with_run(bodies=[]),
    "run with bodies of another kind": with_run(bodies={}),
    "run without first": with_run(first=...),
    "run from 0": with_run(first=0),
    "run from below 0": with_run(first=-1),
    "run from beyond 2^53": with_run(first=2**53),
    "run from a text": with_run(first="1"),
    "run from true": with_run(first=True),
    "run from a float": SEALED.replace(b'"first":1', b'"first":1.0'),
    "run without previous": with_run(previous=...),
    "previous too short": with_run(previous="0" * 63),
    "previous too long": with_run(previous="0" * 65),
    "previous in capitals": with_run(previous="AB" * 32),
    "previous with a newline": with_run(previous="0" * 64 + "\n"),
    "previous with spaces": with_run(previous="00 " * 21 + "0"),
    "run without stream": with_run(stream=...),
    "stream empty": with_run(stream=""),
    "stream with a newline": with_run(stream="meter/m-1\n"),
    "stream with a space": with_run(stream="meter/m 1"),
    "stream with two slashes": with_run(stream="meter/m/1"),
    "stream too long": with_run(stream="meter/" + "m" * 124),
    "run with one field more": with_run(last=3),
    "too many events": with_run(bodies=[{}] * (EVENTS_MAX - 1)),
    "deep nesting": changed(runs=...)[:-1] + b',"runs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a deep body": SEALED.replace(RUNS[0].bodies[0], b"[" * 100_000 + b"]" * 100_000),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_envelope_is_malformed(what: str) -> None:
    with pytest.raises(Malformed):
        read_envelope(MALFORMED[what])


FIRST_BODY = RUNS[0].bodies[0]

NOT_CANONICAL = {
    "a space": SEALED.replace(b",", b", ", 1),
    "a newline at the end": SEALED + b"\n",
    "a space before": b" " + SEALED,
    "a space around a body": SEALED.replace(FIRST_BODY, b" " + FIRST_BODY),
    "a newline behind a body": SEALED.replace(FIRST_BODY, FIRST_BODY + b"\n"),
    "a key twice": SEALED.replace(b'"device":"gw-1"', b'"device":"gw-1","device":"gw-1"'),
    "two values for a key": SEALED.replace(b'"device":"gw-1"', b'"device":"gw-2","device":"gw-1"'),
    "an escape": SEALED.replace(b'"gw-1"', b'"gw\\u002d1"'),
    "an escaped slash": SEALED.replace(b"meter/m-1", b"meter\\/m-1"),
    "keys in another order": json.dumps(
        dict(reversed(json.loads(SEALED).items())), separators=(",", ":")
    ).encode(),
}


@pytest.mark.parametrize("what", NOT_CANONICAL)
def test_an_envelope_has_one_spelling(what: str) -> None:
    with pytest.raises(NotCanonical):
        read_envelope(NOT_CANONICAL[what])


def test_an_envelope_holds_500_events_and_no_more() -> None:
    bodies = bodies_of(readings(0, EVENTS_MAX))
    sealed, _ = seal_envelope(COMMUNITY, "gw-1", KEY, [NewRun("meter/m-1", EMPTY, bodies)])
    assert len(read_envelope(sealed).runs[0].bodies) == EVENTS_MAX
    more, _ = seal_envelope(
        COMMUNITY,
        "gw-1",
        KEY,
        [NewRun("meter/m-1", EMPTY, bodies), NewRun("meter/m-2", EMPTY, bodies[:1])],
    )
    with pytest.raises(Malformed, match="501 events"):
        read_envelope(more)


@pytest.mark.parametrize(
    "signature",
    ["A" * 85 + "B==", "=" * 88, "A" * 87 + "\n", "A" * 87 + "_", "A" * 84 + "====", "ก" * 88],
)
def test_a_signature_is_base64_in_its_one_spelling(signature: str) -> None:
    with pytest.raises(Malformed, match="base64"):
        signature_bytes(read_envelope(changed(signature=signature)))


def test_a_refusal_is_short_however_long_the_envelope() -> None:
    long = "x" * 200_000
    for data in (changed(device=long), changed(**{long: 1}), with_run(stream=long), with_run(**{long: 1})):
        with pytest.raises(Malformed) as refused:
            read_envelope(data)
        assert len(refused.value.diagnostics()) < 1_000


def test_bodies_are_kept_as_they_came() -> None:
    # What a body holds is judged elsewhere; here its very bytes pass through.
    body = b'{ "b" : 1.5 , "a" : [ ] }'
    data = SEALED.replace(FIRST_BODY, body)
    assert bytes(read_envelope(data).runs[0].bodies[0]) == body

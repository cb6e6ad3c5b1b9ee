"""An example of each value of the API by the name that it has everywhere, and of bodies by their schema.

A body's example is one that its handler takes: what excludes one another is not told together.
"""

from collections.abc import Mapping
from typing import Any

TOLD: dict[str, tuple[str, Any]] = {
    "community": ("The community's id.", "campus"),
    "building": ("The building's id.", "school"),
    "meter": ("The meter's id.", "m-school"),
    "month": ("A local month.", "2026-06"),
    "path": ("The rest of a tile's path, after `tile/`.", "0/000.p/17"),
    "stream": ("A stream of the book.", "meter/m-school"),
    "order": ("The order's id.", "night"),
    "agreement": ("The agreement's id.", "roof"),
    "device": ("The device's id.", "gw-1"),
    "number": ("Its number.", 1),
    "digest": ("The SHA-256 of the message, in hex.", "ab" * 32),
    "webhook": ("The webhook's id.", "wh_0123456789abcdef"),
    "delivery": ("The delivery's id.", "msg_0f0e0d0c0b0a09080706050403020100"),
}
"""What a parameter is, and an example, for those that do not say it themselves."""
DOCUMENT = "campus-2026-000001"
KEY = "5649f27c30118f04"
EXAMPLES: dict[str, Any] = {
    "currency": "THB", "micro": 4_346_200, "decimal": "4.346200", "seller": "school", "buyer": "lab",
    "feeder": "feeder-1", "status": "ok", "code": "not-found", "hash": "0f" * 32, "root": "1e" * 32,
    "previous": "00" * 32, "size": 42, "sequence": 1, "role": "connection", "model": "sdm630",
    "mechanism": "mid_market_rate", "tariff": "th-mea-4.2-12-24kv", "next": "WzEwMF0", "after": "WzEwMF0",
    "last_event_id": "42-17", "Last-Event-ID": "42-17", "partner": "lab", "proposer": "school",
    "side": "sell", "name": "School", "reader": "gw-1", "key": KEY, "person": "lek@example.org",
    "public_key": "78cd2dd3e65cfbaba1dd3396c8db164c4f9800b1ea7be033afc3489cbf58510f",
    "service_key": "1d2f3e4c" * 8, "body_hash": "2d" * 32, "entry_hash": "0f" * 32, "head": "0f" * 32,
    "result": "3c" * 32, "rules": "4b" * 32, "envelope": "5a" * 32, "salt": "AAECAwQFBgcICQoL",
    "body": '{"export_wh":0,"import_wh":1000250,"measured_at":"2026-06-01T00:00:00Z","quality":"measured",'
    '"salt":"AAECAwQFBgcICQoL","type":"meter-read/1"}',
    "message": '{"community":"campus","device":"gw-1"}', "signature": "XytRhsslmT17kgDIbSmZi8O1Qg==",
    "signed_text": f"energy-ledger/envelope/v1\ncampus\ngw-1\nmeter/m-school 1 1 {'0f' * 32}\n",
    "kind": "invoice", "quality": "measured", "account": "building/school", "part": "ft",
    "detail": "the meter does not answer", "alarm": "meter-offline", "problem": "the Ft is not known yet",
    "what": "the key is not enrolled", "to_do": "enrol its key", "hint": "look at its month",
    "resolution": "released", "resolved_by": "0a1b2c3d4e5f", "reason": "wrong address", "label": "invoices",
    "topic": "invoice.issued", "price_rule": "midpoint", "key_kind": "proportional", "source": "feeder-1",
    "target": "feeder-2", "field": "gate_minutes", "before": 60, "method": "GET", "id": "3f9c0e8ad1b6527e",
    "link": "/v1/communities/campus/market/rules/1", "csrf_token": "q0V3b2xkX3R3aWNl",
    "proof": "c2sp.org/tlog-proof@v1\nindex 17\n..", "document": 'name = "th-mea-4.2-12-24kv"\n..',
    "token": "0a1b2c3d4e5f.uq0V3b2xkX3R3aWNlX29uY2U", "begin": "2026-06-01", "until": "2026-07-01",
    "since": "2029-01-01", "clock_from": "22:00", "clock_until": "06:00", "numbers": [DOCUMENT],
    "documents": [DOCUMENT], "mechanisms": ["mid_market_rate"], "notes": ["all intervals are settled"],
    "repeat": ["energy-ledger export --out campus.jsonl", "energy-ledger verify campus.jsonl --log-key KEY"],
    "cancels": "", "number": DOCUMENT, "refused_as": "fork",
    "import_wh": 1_250, "export_wh": 0, "power_w": -5_400, "energy_wh": 5_000, "rated_w": 100_000,
    "energy_milliwh": 1_250_000, "import_milliwh": 1_250_000, "bought_milliwh": 250_000,
    "grid_import_milliwh": 1_000_000, "micro_per_kwh": 3_273_100, "share_ppm": 250_000,
    "self_sufficiency_ppm": 200_000, "local_coverage_ppm": 800_000,
    "fairness_ppm": 1_000_000, "micros": 1_800, "intervals": 96, "trades": 12, "gate_minutes": 60,
    "subject": "m-school", "tree_size": 4_700, "settled": 1, "age_seconds": 42, "tries": 1, "times": 1,
}  # fmt: skip
"""More of them, for what stands in bodies and answers, and for parameters of such a name."""
BODIES: dict[str, dict[str, Any]] = {
    "NewOrder": {"side": "sell", "limit": "3.20", "until": "2030-01-01", "order": "night"},
    "OrderEnd": {"since": "2029-01-01"},
    "NewAgreement": {
        "side": "sell", "partner": "lab", "price": "2.75", "until": "2030-01-01", "agreement": "roof",
    },
    "AgreementYes": {"proposer": "school"},
    "AgreementEnd": {"since": "2029-01-01"},
    "NewRules": {"mechanism": "mid_market_rate", "tariff": "th-mea-4.2-12-24kv", "gate_minutes": 60},
    "NewTariff": {"tariff": "th-mea-4.2-12-24kv"},
    "TariffAnswer": {
        "published": True, "counts_from": "2026-06-01", "changes": ["document"], "number": 2,
    },
    "WhatIfRequest": {"begin": "2026-06-01", "until": "2026-07-01", "mechanisms": ["mid_market_rate"]},
    "NewRegistry": {
        "feeders": [{"feeder": "feeder-1", "name": "Feeder 1"}],
        "buildings": [{"building": "school", "feeder": "feeder-1", "name": "School"}],
        "meters": [
            {"meter": "m-school", "role": "connection", "model": "sdm630", "rated_w": 100_000,
             "building": "school", "reader": "gw-1"},
        ],
    },
    "MeterEnd": {"until": "2026-07-01T09:00:00Z"},
    "NewEpoch": {"reason": "replacement", "since": "2026-07-01T09:00:00Z"},
    "RegistryAnswer": {
        "published": True,
        "changes": [
            {"field": "building/school", "before": None,
             "after": {"building": "school", "feeder": "feeder-1", "name": "School"}},
        ],
    },
    "TokenWanted": {"device": "wifi-1", "role": "meter", "hours": 24},
    "RevocationWanted": {"reason": "the gateway was stolen"},
}  # fmt: skip
"""Whole ones, where not every field is to be told or where fields have to fit one another."""
FORMATS: dict[str, tuple[str, str]] = {
    "date-time": ("2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"), "date": ("2026-06-01", "2026-07-01"),
}  # fmt: skip
"""A beginning, and an end."""
ENDS = frozenset({"until", "period_until", "end", "due_on", "expires_at", "ends_at", "settled_until"})
"""Names of what comes later than the rest."""
DEEPEST = 6
TYPES: dict[type, str] = {
    bool: "boolean", int: "integer", str: "string", type(None): "null", list: "array", dict: "object",
}  # fmt: skip


def type_of(value: Any) -> str:
    """The type of a value, as JSON Schema calls it."""
    return TYPES[type(value)]


def example(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that fits a schema, the same for the same name."""
    if "$ref" in schema:
        referred = schema["$ref"].rpartition("/")[2]
        return BODIES.get(referred) or example(schemas[referred], schemas, name, depth)
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if listed := schema.get("examples") or schema.get("enum"):
        return listed[0]
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        told = [one for one in choices if one.get("type") != "null"]
        form = {"format": schema["format"]} if "format" in schema else {}
        return example({**(told or choices)[0], **form}, schemas, name, depth)
    kinds = schema.get("type", "object")
    kind = next((one for one in kinds if one != "null"), "null") if isinstance(kinds, list) else kinds
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]][name in ENDS]
    for value in (EXAMPLES.get(name), TOLD.get(name, ("", None))[1]):
        if type_of(value) == kind:
            return value
    return _of_kind(kind, schema, schemas, depth)


def _of_kind(kind: str, schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    match kind:
        case "object":
            if depth > DEEPEST:
                return {}
            fields = schema.get("properties", {})
            return {key: example(one, schemas, key, depth + 1) for key, one in fields.items()}
        case "array":
            items: Mapping[str, Any] | None = schema.get("items")
            return [example(items, schemas, "", depth + 1)] if items and depth <= DEEPEST else []
        case "integer" | "number":
            return int(schema.get("minimum", 0)) or int(schema.get("exclusiveMinimum", 0)) + 1
        case "boolean":
            return True
        case "null":
            return None
    return "x" * max(1, schema.get("minLength", 0))

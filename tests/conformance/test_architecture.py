"""The tree keeps the shape that ARCHITECTURE.md promises.

Each rule reads the syntax tree of the product's files and names every breach as `file:line: rule: what`.
Each rule is also tried on a line that breaks it and on one that does not, so that it cannot fall asleep.
"""

import ast
import asyncio
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

IMPORT_LAW = {
    "ledger": {"ledger"},
    "ingest": {"ingest", "ledger"},
    "settlement": {"settlement", "ledger"},
    "contracts": {"contracts", "ledger"},
    "api": {"api", "contracts", "ingest", "ledger", "settlement"},
}
"""Which of our packages each package may import."""

DOORS: dict[str, str | tuple[str, ...]] = {
    "aiohttp": "ledger/outgoing/",
    "asyncpg": "ledger/postgres/",
    "nats": "ledger/bus/",
    "pymodbus": "ingest/modbus/",
    "sqlite3": ("ingest/", "settlement/plain/", "settlement/replay/"),
    "web3": "contracts/",
    "litestar": "api/",
    "argon2": "api/passwords.py",
    "segno": "settlement/billing/",
    "typst": "settlement/billing/",
    "xlsxwriter": "settlement/billing/",
    "subprocess": "ledger/embedded/",
    "time": "ledger/clock.py",
}
"""The one place that may import a library that does I/O or looks at the clock."""

EXACT = re.compile(
    r"ledger/|settlement/|ingest/(register|meter_(model|reading))|ingest/modbus/(frames|sunspec)"
)
"""The files that hold energy or money: no floating point, no rounding of their own."""

FLOATS_ALLOWED = {"ledger/clock.py": "seconds to sleep"}
"""Files with floating-point numbers that are not in something named `..seconds`, and what they are."""

TOP_LEVEL = {
    *(*IMPORT_LAW, "tests"),
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "Makefile", "Dockerfile"),
    *("pyproject.toml", "requirements.lock", "requirements-dev.lock", "docker-compose.yml"),
}
TEST_ENTRIES = {
    *("unit", "properties", "faults", "integration", "conformance", "vectors", "benchmarks", "support"),
    *("conftest.py", "__init__.py"),
}

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500

FORBIDDEN = {
    # Put together here, because this file is searched as well.
    "a package registry's host": ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.", "deb" + "ian.org"),
    "a path of one machine": ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"),
    "how it was written": ("helper " + "session", "this " + "session", "sub" + "agent", "shared/" + "DESIGN"),
    "unfinished": ("TO" + "DO", "FIX" + "ME", "X" * 3),
}
NOT_OURS = {"LICENSE", "tests/vectors/compose-spec.json", "requirements.lock", "requirements-dev.lock"}

PLAIN_BASES = {"Struct", "NamedTuple", "Enum", "StrEnum", "IntEnum", "Protocol", "ABC"}
"""Base classes that say nothing about what the methods of a class do."""

Breach = tuple[int, str]


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def imports(self) -> Iterator[tuple[int, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.lineno, node.module


@cache
def product() -> tuple[Source, ...]:
    paths = (path for package in IMPORT_LAW for path in sorted((ROOT / package).rglob("*.py")))
    return tuple(Source(str(path.relative_to(ROOT)), path.read_text()) for path in paths)


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


# The rules


def import_law(source: Source) -> Iterator[Breach]:
    package = source.path.split("/")[0]
    for line, module in source.imports():
        imported = module.split(".")[0]
        if imported in IMPORT_LAW and imported not in IMPORT_LAW[package]:
            yield line, f"{package} may not import {imported}"
        if imported == "tests":
            yield line, "the product may not import its tests"


def doors(source: Source) -> Iterator[Breach]:
    for line, module in source.imports():
        door = DOORS.get(module.split(".")[0])
        if door and not source.path.startswith(door):
            yield line, f"only {door} may import {module}"
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(attr="create_subprocess_exec" | "create_subprocess_shell"):
                if not source.path.startswith(DOORS["subprocess"]):
                    yield node.lineno, f"only {DOORS['subprocess']} starts processes"


def clock(source: Source) -> Iterator[Breach]:
    if source.path == DOORS["time"]:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value).split(".")[-1]
            if owner in {"datetime", "date"} and node.func.attr in {"now", "utcnow", "today"}:
                yield node.lineno, f"only {DOORS['time']} looks at the clock"


def environment(source: Source) -> Iterator[Breach]:
    if source.path in {"api/cli.py", "ledger/command_line.py"}:
        return
    for node in ast.walk(source.tree):
        named = isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
        taken = isinstance(node, ast.ImportFrom) and {a.name for a in node.names} & {"environ", "getenv"}
        if isinstance(node, ast.Attribute | ast.ImportFrom) and (named or taken):
            yield node.lineno, "only the command line and its settings read the environment"


def exact_numbers(source: Source) -> Iterator[Breach]:
    if not EXACT.match(source.path):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Constant(value=float()):
                if source.path not in FLOATS_ALLOWED and not _is_seconds(source, node):
                    yield node.lineno, f"the floating-point number {ast.unparse(node)}"
            case ast.BinOp(op=ast.Div()) if not _is_path(node) and not _is_duration(node):
                yield node.lineno, f"the true division {ast.unparse(node)}"
            case ast.Call(func=ast.Name(id="float")):
                yield node.lineno, "float()"
            case ast.Call(func=ast.Name(id="round")) if source.path != "ledger/rounding.py":
                yield node.lineno, "round() outside ledger/rounding.py"


def _is_seconds(source: Source, node: ast.AST) -> bool:
    """Whether the number is the value of something whose name ends with `seconds`."""
    while node in source.parents:
        inner, node = node, source.parents[node]
        match node:
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
                return ast.unparse(target).lower().endswith("seconds")
            case ast.keyword(arg=str(name)):
                return name.endswith("seconds")
            case ast.arguments(args=args, defaults=defaults) if inner in defaults:
                return args[len(args) - len(defaults) + defaults.index(inner)].arg.endswith("seconds")
            case ast.arguments(kwonlyargs=args, kw_defaults=defaults) if inner in defaults:
                return args[defaults.index(inner)].arg.endswith("seconds")
            case ast.stmt():
                return False
    return False


def _is_path(division: ast.BinOp) -> bool:
    """Whether `/` joins paths: to a string, or to something that is named as a path is."""
    parts = (division.left, division.right)
    joined = any(isinstance(part, ast.JoinedStr) or _is_text(part) for part in parts)
    return joined or any(re.search("path|folder|root|sql", ast.unparse(part).lower()) for part in parts)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_duration(division: ast.BinOp) -> bool:
    """Whether it divides seconds, or turns milliseconds into the seconds that asyncio wants."""
    left, right = ast.unparse(division.left).lower(), ast.unparse(division.right)
    return left.endswith("seconds") or ("_ms" in left and right == "1000")


def sizes(source: Source) -> Iterator[Breach]:
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield lines, f"{lines} lines, at most {FILE_LINES_MAX} in a file"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            long = (node.end_lineno or node.lineno) - node.lineno + 1
            if long > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {long} lines, at most {FUNCTION_LINES_MAX} in a function"


def documentation(source: Source) -> Iterator[Breach]:
    if not ast.get_docstring(source.tree) and source.text.strip():
        yield 1, "the file does not say what it is for"
    for owner, node in _public(source.tree):
        name = f"{owner.name}.{node.name}" if owner else node.name
        if not ast.get_docstring(node) and not _is_told_elsewhere(owner, node):
            yield node.lineno, f"{name} has no docstring"
        if not isinstance(node, ast.ClassDef):
            yield from ((node.lineno, f"{name}: {what}") for what in _untyped(node, owner is not None))


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(
    tree: ast.Module | ast.ClassDef, owner: ast.ClassDef | None = None
) -> Iterator[tuple[ast.ClassDef | None, Definition]]:
    """Classes, functions and methods whose names, and whose classes' names, have no underscore in front."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield owner, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, node)


def _is_told_elsewhere(owner: ast.ClassDef | None, node: Definition) -> bool:
    """Whether a method needs no words of its own: a protocol or a base class has said what it does, or it is
    a single statement and its name says it all."""
    if owner is None or isinstance(node, ast.ClassDef):
        return False
    bases = {ast.unparse(base).split(".")[-1] for base in owner.bases} - PLAIN_BASES
    promised = node.name in _promised() or hasattr(asyncio.Protocol, node.name)
    return bool(bases) or promised or len(node.body) == 1


def _untyped(node: ast.FunctionDef | ast.AsyncFunctionDef, is_method: bool) -> Iterator[str]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    named = (
        arguments[1:] if is_method and arguments[:1] and arguments[0].arg in {"self", "cls"} else arguments
    )
    yield from (f"{one.arg} has no type" for one in named if one.annotation is None)
    if node.returns is None:
        yield "no return type"


@cache
def _promised() -> frozenset[str]:
    """Methods whose promise is written once, at the protocol or base class that others implement."""
    return frozenset(
        method.name
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and {"Protocol", "ABC"} & {ast.unparse(one) for one in node.bases}
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(method)
    )


STATEMENT = re.compile(
    r"\s*(SELECT\s.+\bFROM\b|INSERT\s+INTO\b|UPDATE\s+\S+\s+SET\b|DELETE\s+FROM\b|TRUNCATE\s|COPY\s+\S+\s*(\(|FROM|TO)"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|ROLE|SCHEMA|DATABASE|FUNCTION|TRIGGER|VIEW)\b|SET\s+ROLE\b|(LISTEN|NOTIFY)\s+\w+\s*$)",
    re.IGNORECASE | re.DOTALL,
)


def statements(source: Source) -> Iterator[Breach]:
    for node in ast.walk(source.tree):
        # A docstring may begin with such a word: an expression of its own is one.
        match node:
            case ast.Constant(value=str(text)) if not isinstance(source.parents[node], ast.Expr):
                if STATEMENT.match(text):
                    yield node.lineno, "SQL belongs into a .sql file"


def excuses(source: Source) -> Iterator[Breach]:
    bare = re.compile(r"#\s*(noqa(:[A-Z0-9, ]+)?|type:\s*ignore(\[[\w, -]+\])?)\s*$")
    for number, line in enumerate(source.text.splitlines(), 1):
        if bare.search(line):
            yield number, "a check is switched off without a reason"


Rule = Callable[[Source], Iterator[Breach]]
RULES: dict[Rule, tuple[str, str, str]] = {
    # rule: a path, a text there that breaks the rule, a text there that does not
    import_law: ("ledger/x.py", "from ingest.meter import read", "from ledger.errors import BadInput"),
    doors: ("ledger/x.py", "import asyncpg", "import asyncio"),
    clock: ("ledger/x.py", "datetime.datetime.now(UTC)", "clock.now()"),
    environment: ("ledger/x.py", "os.environ['HOME']", "os.path"),
    exact_numbers: ("settlement/x.py", "share = a_wh / b_wh", "where = folder / name\nwait_seconds = 0.5"),
    sizes: ("api/x.py", "def f():\n" + "    x\n" * 70, "def f():\n" + "    x\n" * 69),
    documentation: ("api/x.py", '"""A."""\ndef f(x): ...', '"""A."""\ndef f(x: int) -> int:\n    """F."""'),
    statements: ("ledger/x.py", "q = f'SELECT a FROM {t}'", '"""Select what comes from a meter."""'),
    excuses: ("ledger/x.py", "x = 1  # noqa" + ": S101", "x = 1  # noqa" + ": S101 - because"),
}


def by_name(rule: Rule) -> str:
    return getattr(rule, "__name__", "")


@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    breaches = [
        f"{source.path}:{line}: {by_name(rule)}: {what}"
        for source in product()
        for line, what in rule(source)
    ]
    assert not breaches, "\n".join(["", *breaches])


@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_the_rule_tells_a_breach_from_a_line_that_keeps_it(rule: Rule) -> None:
    path, broken, kept = RULES[rule]
    assert list(rule(Source(path, broken)))
    assert not list(rule(Source(path, kept)))


def test_the_top_level_is_as_designed() -> None:
    found = {name.split("/")[0] for name in tracked()}
    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL
    assert {name.split("/")[1] for name in tracked() if name.startswith("tests/")} <= TEST_ENTRIES
    assert not [name for name in tracked() if name.endswith("uv.lock")]


def test_every_statement_says_what_it_is_for() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:1: begins without a comment"
        for package in IMPORT_LAW
        for path in (ROOT / package).rglob("*.sql")
        if not path.read_text().lstrip().startswith("--")
    ]
    assert not silent, "\n".join(["", *silent])


def test_no_text_speaks_of_anything_but_the_product() -> None:
    breaches = [
        f"{name}:{number}: {what}: {word}"
        for name in tracked()
        if name not in NOT_OURS
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1)
        for what, words in FORBIDDEN.items()
        for word in words
        if word in line
    ]
    assert not breaches, "\n".join(["", *breaches])


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_answers_every_requirement_and_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text()
    locked = {
        canonicalize_name(found[1]): found[2] for found in re.finditer(r"^(\S+)==(\S+)", text, re.MULTILINE)
    }
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*stated["build-system"]["requires"], *stated["project"]["dependencies"]]
    if "dev" in name:
        asked += stated["project"]["optional-dependencies"]["test"]
    for requirement in map(Requirement, asked):
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{name} lacks {requirement.name}: run `make lock`"
        assert requirement.specifier.contains(version), (
            f"{name} has {requirement.name} {version}: run `make lock`"
        )
    assert "://" not in text

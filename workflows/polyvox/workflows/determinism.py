"""Refuses flow source that cannot be replayed: what it does would differ from run to run.

A flow is re-run from its start after a crash, so its code may depend on nothing but its inputs.
Imports are judged by an allow-list, because what a stranger's module does cannot be seen here;
calls of the built-ins and clocks that authors reach for are named with what to use instead.
"""

import ast
from dataclasses import dataclass

_ALLOWED = frozenset(
    {
        "__future__",
        "abc",
        "ast",
        "asyncio",
        "base64",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "html",
        "itertools",
        "json",
        "math",
        "operator",
        "polyvox",
        "pydantic",
        "re",
        "statistics",
        "string",
        "textwrap",
        "types",
        "typing",
        "unicodedata",
    }
)

_INSTEAD = {
    "time": "use run.now()",
    "random": "use run.random()",
    "secrets": "use run.random()",
    "uuid": "use run.random()",
    "httpx": "ask a model with run.ask(...), or do I/O in a tool",
    "requests": "ask a model with run.ask(...), or do I/O in a tool",
    "os": "make it a parameter of the flow",
    "threading": "use asyncio tasks",
    "logging": "use run.note(...)",
}

_CALLS = {
    "open": "files may change between a run and its replay; make the content a parameter",
    "input": "nobody is there to answer",
    "print": "use run.note(...)",
    "eval": "write the code out",
    "exec": "write the code out",
    "__import__": "use an import statement",
}

_CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}


@dataclass(frozen=True, slots=True)
class Complaint:
    """``line`` is the 1-based line of the source; ``message`` says what to do."""

    line: int
    message: str


def complaints(source: str, filename: str) -> list[Complaint]:
    """Return what in ``source`` cannot be replayed, in order of lines.

    Raises SyntaxError, which names file and line itself.
    """
    found: list[Complaint] = []
    for node in ast.walk(ast.parse(source, filename)):
        match node:
            case ast.Import(names=names):
                found += [_import(node.lineno, alias.name) for alias in names]
            case ast.ImportFrom(module=module, level=level):
                found.append(_import(node.lineno, module or "." * level))
            case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
                found.append(Complaint(node.lineno, f"{name}() is not allowed: {_CALLS[name]}."))
            case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if (
                _last_name(owner),
                attr,
            ) in _CLOCKS:
                found.append(
                    Complaint(
                        node.lineno,
                        f"{_last_name(owner)}.{attr}() differs at each replay: use run.now().",
                    )
                )
    return sorted((c for c in found if c.message), key=lambda c: c.line)


def _import(line: int, module: str) -> Complaint:
    top = module.partition(".")[0]
    if top in _ALLOWED:
        return Complaint(line, "")
    instead = _INSTEAD.get(top, "keep the flow to the standard library's pure modules")
    return Complaint(line, f"import of {module!r} is not allowed in a flow: {instead}.")


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case _:
            return ""

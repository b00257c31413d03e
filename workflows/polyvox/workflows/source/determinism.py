"""Rejects flow source that is not deterministic and therefore cannot be replayed.

After a crash a flow is executed again from its start, so its code may depend only on its inputs.
Imports are checked against an allow-list, because the effects of other modules are not known. For
common non-deterministic built-ins and clocks the message names an alternative.
"""

import ast
import difflib

from polyvox.workflows.confinement.escapes import Complaint, escapes
from polyvox.workflows.confinement.surface import children, is_known, names_of

_NO_REQUESTS = (
    "a flow makes no requests of its own; ask a model with run.ask(...), or pass the data as a "
    "parameter"
)
_NO_PROCESSES = 'run commands in the sandbox with run.tool("check_code", ...)'

_INSTEAD = {
    "time": "use run.now()",
    "random": "use run.random()",
    "secrets": "use run.random()",
    "uuid": "use run.random()",
    "httpx": _NO_REQUESTS,
    "requests": _NO_REQUESTS,
    "aiohttp": _NO_REQUESTS,
    "urllib": _NO_REQUESTS,
    "socket": _NO_REQUESTS,
    "openai": "ask a model with run.ask(...)",
    "anthropic": "ask a model with run.ask(...)",
    "subprocess": _NO_PROCESSES,
    "pathlib": "put the file into the flow's folder, or pass the content as a parameter",
    "os": "pass the value as a parameter of the flow",
    "threading": "use asyncio tasks",
    "logging": "use run.note(...)",
}

_CALLS = {
    "open": "files may change between a run and its replay; pass the content as a parameter",
    "input": "a flow has no terminal; use run.approve(...)",
    "print": "use run.note(...)",
    "eval": "write the code itself",
    "exec": "write the code itself",
    "hash": "the result differs between processes; use hashlib",
    "id": "the result differs between processes; compare values",
}

_ASYNCIO = {
    "wait": "it uses sets, whose order differs; use asyncio.gather or run.panel(...)",
    "as_completed": "it uses sets, whose order differs; use run.panel(...)",
    "to_thread": "use asyncio tasks",
    "run": "the event loop is already running; use await",
    "open_connection": _NO_REQUESTS,
    "create_subprocess_exec": _NO_PROCESSES,
    "create_subprocess_shell": _NO_PROCESSES,
}

_TOLD = {("asyncio", name) for name in _ASYNCIO}
"""Attributes of modules that are reported at their call."""

_NO_NEIGHBOURS = (
    "a relative import needs the other modules: register the folder instead of this file."
)
_SWALLOWS = (
    "this also catches the cancellation of a run: catch Exception or ModelError, or re-raise it."
)

_CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}


def complaints(source: str, filename: str, *, in_folder: bool = False) -> list[Complaint]:
    """Return the code in ``source`` that cannot be replayed, ordered by line.

    Relative imports are allowed only ``in_folder``. Raises SyntaxError, which names file and line.
    """
    tree = ast.parse(source, filename)
    found = escapes(tree)
    modules = _modules_bound(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [_import(node.lineno, alias.name) for alias in names]
            case ast.ImportFrom(module=module, level=level, names=names):
                if not level:
                    found.append(_import(node.lineno, module or ""))
                    found += [_offered(node.lineno, module or "", alias.name) for alias in names]
                elif not in_folder:
                    found.append(Complaint(node.lineno, _NO_NEIGHBOURS))
            case ast.ExceptHandler(type=None | ast.Name(id="BaseException")) if not any(
                isinstance(inside, ast.Raise) for inside in ast.walk(node)
            ):
                found.append(Complaint(node.lineno, _SWALLOWS))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr=attr)) if (
                attr in _ASYNCIO
            ):
                found.append(
                    Complaint(node.lineno, f"asyncio.{attr}() is not allowed: {_ASYNCIO[attr]}.")
                )
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if (
                name in modules and (name, attr) not in _TOLD
            ):
                found.append(_offered(node.lineno, modules[name], attr))
            case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
                found.append(Complaint(node.lineno, f"{name}() is not allowed: {_CALLS[name]}."))
            case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if (
                _last_name(owner),
                attr,
            ) in _CLOCKS:
                found.append(
                    Complaint(
                        node.lineno,
                        f"{_last_name(owner)}.{attr}() differs in each replay: use run.now().",
                    )
                )
    return sorted((c for c in found if c.message), key=lambda c: c.line)


def may_walk_sets(source: str) -> bool:
    """Return whether ``source`` may create or get a set; True in case of doubt.

    In the allowed modules, every name that yields a set contains "set", except views of dicts.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                if "set" in name.lower() or name == "keys":
                    return True
            case ast.BinOp(op=ast.Sub() | ast.BitAnd() | ast.BitOr() | ast.BitXor()):
                if "items" in {_last_name(side.func) for side in _calls_of(node)}:
                    return True
    return False


def _calls_of(node: ast.BinOp) -> list[ast.Call]:
    return [side for side in (node.left, node.right) if isinstance(side, ast.Call)]


def _import(line: int, module: str) -> Complaint:
    if is_known(module):
        return Complaint(line, "")
    top = module.partition(".")[0]
    instead = _INSTEAD.get(top, "use pure modules of the standard library, such as json")
    return Complaint(line, f"import of {module!r} is not allowed in a flow: {instead}.")


def _offered(line: int, module: str, name: str) -> Complaint:
    if not is_known(module) or name == "*" or name in {*names_of(module), *children(module)}:
        return Complaint(line, "")
    near = difflib.get_close_matches(name, [*names_of(module), *children(module)], 1)
    instead = f"did you mean {near[0]!r}?" if near else "see docs/flows.md."
    if name in _ASYNCIO:
        instead = f"asyncio.{name}: {_ASYNCIO[name]}."
    return Complaint(line, f"{module}.{name} is not available to a flow: {instead}")


def _modules_bound(tree: ast.Module) -> dict[str, str]:
    """Return the modules that ``tree`` imports, by names that are not assigned anywhere else."""
    bound = {
        alias.asname or alias.name.partition(".")[0]: (
            alias.name if alias.asname else alias.name.partition(".")[0]
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    others = {
        node.id if isinstance(node, ast.Name) else node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    }
    return {name: module for name, module in bound.items() if name not in others}


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case _:
            return ""

"""Finds names in a flow's source that would give it access to the whole process.

In Python any object leads to the whole process by attributes with known names:
``().__class__.__base__.__subclasses__()``, ``function.__globals__``, ``error.__traceback__``. A
flow's source must not contain them, which is checked at registration and at loading. Names computed
at run time are checked then, by the same rule (``execution.py``).
"""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

from polyvox.workflows.confinement.surface import words
from polyvox.workflows.errors import FlowError

_PROTOCOLS = frozenset(
    f"__{name}__"
    for name in words(
        "abs add aenter aexit aiter and anext await bool bytes call ceil class_getitem complex "
        "contains copy deepcopy delattr delete delitem divmod enter eq exit float floor floordiv "
        "format ge get getattr getitem gt hash iadd iand ifloordiv ilshift "
        "imod imul index init init_subclass int invert ior ipow irshift isub iter itruediv ixor "
        "le len length_hint lshift lt missing mod mul ne neg new next or pos post_init pow radd "
        "rand rdivmod repr reversed rfloordiv rlshift rmod rmul ror round rpow rrshift rshift "
        "rsub rtruediv rxor set set_name setattr setitem str sub truediv trunc xor"
    )
)
"""Special methods that a flow may define and call."""

_DEFINED_ONLY = frozenset({"__delete__", "__set__", "__set_name__"})
"""Those of ``_PROTOCOLS`` that a flow may define, but not call."""

READ_ONLY = frozenset({"__name__", "__qualname__", "__doc__", "__cause__", "__members__"})
"""Other special attributes that may be read: texts, errors and the members of an enumeration."""

_DEFINED = frozenset({"__all__", "__author__", "__doc__", "__slots__", "__version__"})
"""Special names that a module or class may assign, besides those of ``_PROTOCOLS``."""

_MODULE_NAMES = frozenset({"__name__", "__file__", "__package__", "__doc__", "__debug__"})
"""Special names that a module may read."""

_FRAMES = words(
    "ag_await ag_code ag_frame co_code co_consts co_names cr_await cr_code cr_frame cr_origin "
    "f_back f_builtins f_code f_globals f_locals f_trace gi_code gi_frame gi_yieldfrom tb_frame "
    "tb_next"
)

_INSIDES = words(
    "_convert_ _evaluate _get_loop _backend _loop get_coro get_loop get_stack mro print_stack"
)
"""Attributes of the standard library's and Polyvox's objects that expose their internals."""

FORMATS = frozenset({"format", "format_map"})
"""Methods that read attributes named in the format string they are called on."""

WITHHELD_BUILTINS = words(
    "breakpoint compile copyright credits delattr eval exec exit getattr globals hasattr help "
    "input license locals open print quit setattr vars"
)

ALLOWED_BUILTINS = (
    frozenset(name for name in dir(builtins) if not name.startswith("_")) - WITHHELD_BUILTINS
)
"""Built-in names that a flow gets unchanged."""

_DANGEROUS_BUILTINS = frozenset(dir(builtins)) - ALLOWED_BUILTINS - _MODULE_NAMES

_HOW = "A flow may use only what it imports and its run, not their internals."


class ForbiddenReach(FlowError):
    """A flow tried to access something that it may not use."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A mistake in a flow's source, with its 1-based ``line`` and a message for the author."""

    line: int
    message: str


def denied(name: str) -> bool:
    """Return whether the attribute ``name`` is forbidden for all objects."""
    if name in _FRAMES or name in _INSIDES:
        return True
    if name in _DEFINED_ONLY:
        return True
    return is_dunder(name) and name not in _PROTOCOLS and name not in READ_ONLY


def why_denied(name: str) -> str:
    """Return the message for an attribute that is ``denied``."""
    if name == "__class__":
        return f"The attribute {name!r} cannot be used in a flow: use type(...). {_HOW}"
    return f"The attribute {name!r} cannot be used in a flow. {_HOW}"


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def is_private(name: str) -> bool:
    return name.startswith("_") and not is_dunder(name)


def escapes(tree: ast.Module) -> list[Complaint]:
    """Return the uses of forbidden names in a module."""
    fine = _uses_that_are_fine(tree)
    found: list[Complaint] = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        found += [Complaint(line, message) for message in _messages(node, fine)]
        found += [Complaint(line, message) for message in _mistakes_in_hint(node)]
    return found


def _mistakes_in_hint(node: ast.AST) -> Iterator[str]:
    """Yield the mistakes in an annotation's strings.

    The typing module and pydantic evaluate these later, possibly with all built-ins. Strings that
    are computed at run time are not checked here.
    """
    match node:
        case ast.arg(annotation=ast.expr() as hint) | ast.AnnAssign(annotation=hint):
            pass
        case ast.FunctionDef(returns=ast.expr() as hint):
            pass
        case ast.AsyncFunctionDef(returns=ast.expr() as hint):
            pass
        case _:
            return
    for text in _texts_in_hint(hint):
        if mistake := mistake_in_text(text):
            yield mistake


def _texts_in_hint(hint: ast.expr) -> Iterator[str]:
    """Yield the strings that represent types; in Literal and Annotated strings are only values."""
    match hint:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal")):
            return
        case ast.Subscript(
            value=ast.Name(id="Annotated") | ast.Attribute(attr="Annotated"),
            slice=ast.Tuple(elts=[first, *_]),
        ):
            yield from _texts_in_hint(first)
        case _:
            for inside in ast.iter_child_nodes(hint):
                if isinstance(inside, ast.expr):
                    yield from _texts_in_hint(inside)


def mistake_in_text(text: str) -> str:
    """Return the mistake in an annotation that is a string, "" if there is none."""
    try:
        tree = ast.parse(f"({text},)" if text.startswith("*") else text, mode="eval")
    except SyntaxError:
        return ""
    generic = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if denied(name) or name in FORMATS:
                return why_denied(name)
            case ast.Name(id="super" | "type" as name) if id(node) not in generic:
                return f"The name {name!r} cannot be used alone in an annotation. {_HOW}"
            case ast.Name(id=name) if name in _DANGEROUS_BUILTINS or is_dunder(name):
                return f"The name {name!r} cannot be used in an annotation. {_HOW}"
    return ""


def _messages(node: ast.AST, fine: set[int]) -> Iterator[str]:
    match node:
        case ast.Attribute(attr=name, ctx=context) if denied(name) or (
            not isinstance(context, ast.Load) and is_dunder(name) and name not in READ_ONLY
        ):
            yield why_denied(name)
        case ast.Name(id=name, ctx=context) if is_dunder(name):
            known = _MODULE_NAMES if isinstance(context, ast.Load) else _DEFINED | _PROTOCOLS
            if name == "__match_args__":
                if id(node) not in fine:
                    yield "__match_args__ must be a tuple of plain attribute names in a flow."
            elif name == "__import__":
                yield "__import__() is not allowed: use an import statement."
            elif name not in known:
                yield f"The name {name!r} cannot be used in a flow. {_HOW}"
        case ast.Name(id="super") if id(node) not in fine:
            yield "super can only be called without arguments in a flow: super()."
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            if is_dunder(name) and name not in _PROTOCOLS:
                yield f"{name} cannot be defined in a flow. {_HOW}"
        case ast.arg(arg=name) | ast.keyword(arg=str(name)) if is_dunder(name):
            yield f"The name {name!r} cannot be used in a flow. {_HOW}"
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            for name in filter(is_dunder, names):
                yield f"The name {name!r} cannot be used in a flow. {_HOW}"
        case ast.MatchClass(kwd_attrs=names):
            for name in names:
                if not _may_match(name):
                    yield why_denied(name)
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) if is_dunder(name):
            yield f"The name {name!r} cannot be used in a flow. {_HOW}"
        case ast.MatchMapping(rest=str(name)) if is_dunder(name):
            yield f"The name {name!r} cannot be used in a flow. {_HOW}"
        case ast.ExceptHandler(name=str(name)) if is_dunder(name):
            yield f"The name {name!r} cannot be used in a flow. {_HOW}"
        case ast.alias(name=name, asname=asname):
            for part in {*name.split("."), asname or ""}:
                if is_dunder(part) and part != "__future__":
                    yield f"The name {part!r} cannot be used in a flow. {_HOW}"


def _uses_that_are_fine(tree: ast.Module) -> set[int]:
    """Return the ids of the AST nodes ``super`` and ``__match_args__`` whose use is allowed."""
    fine: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="super") as name, args=[], keywords=[]):
                fine.add(id(name))
            case ast.Assign(targets=[ast.Name(id="__match_args__") as name], value=value):
                if _plain_names(value):
                    fine.add(id(name))
    return fine


def _plain_names(value: ast.expr) -> bool:
    return isinstance(value, ast.Tuple) and all(
        isinstance(item, ast.Constant) and isinstance(item.value, str) and _may_match(item.value)
        for item in value.elts
    )


def _may_match(name: str) -> bool:
    return not (denied(name) or is_dunder(name) or is_private(name) or name in FORMATS)

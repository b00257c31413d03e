"""Flow, an async function ``(run) -> Reply`` with typed parameters, and its loading from source.

Flows, including the shipped templates, are stored as source text, and every worker loads them from
that text. A version is therefore identified by its text. Loading executes the module's top level
with restricted access to the process (``confinement/execution.py``). ``source/determinism.py``
rejects non-deterministic source before that, at registration.
"""

import ast
import hashlib
import inspect
import sys
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field

from polyvox.workflows.confinement.escapes import escapes
from polyvox.workflows.confinement.execution import Confinement
from polyvox.workflows.confinement.stand_ins import CheckedModel
from polyvox.workflows.conversation import Part
from polyvox.workflows.errors import FlowError, ModelError
from polyvox.workflows.reply import Reply
from polyvox.workflows.run import Run

__all__ = ["Flow", "FlowError", "Model", "Params", "confined", "flow", "load_flow", "reply_from"]

MODEL_PATTERN = r"^[^:\s]+:\S+$"

Model = Annotated[str, Field(pattern=MODEL_PATTERN, json_schema_extra={"format": "model"})]
"""The type of a parameter that names a model: ``provider:model``, split at the first colon."""


class Params(CheckedModel):
    """Base class of a flow's parameters. Unknown parameters are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Every flow's parameters inherit these settings, so they are read-only.
Params.model_config = cast(ConfigDict, types.MappingProxyType(Params.model_config))
CheckedModel.model_config = cast(ConfigDict, types.MappingProxyType(CheckedModel.model_config))


P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class Flow:
    """A flow's name, function, type of parameters and description (the function's docstring)."""

    name: str
    function: Callable[[Run[Any]], Awaitable[Reply]]
    params: type[Params]
    description: str

    @property
    def needs_params(self) -> bool:
        """Whether the flow has parameters without a default."""
        return any(field.is_required() for field in self.params.model_fields.values())


def flow(function: Callable[[Run[P]], Awaitable[Reply]]) -> Flow:
    """Declare ``async def name(run: Run[SomeParams]) -> Reply`` as the flow ``name``.

    Raises FlowError if the function is not async or its one parameter is not a ``Run[...]`` of a
    ``Params`` class.
    """
    name = function.__name__
    if not inspect.iscoroutinefunction(function):
        raise FlowError(f"Flow {name!r} must be declared with 'async def'.")
    parameters = list(inspect.signature(function).parameters)
    hint = get_type_hints(function).get(parameters[0]) if len(parameters) == 1 else None
    arguments = get_args(hint) if get_origin(hint) is Run else ()
    if not (arguments and inspect.isclass(arguments[0]) and issubclass(arguments[0], Params)):
        raise FlowError(
            f"Flow {name!r} must take exactly one argument, annotated 'run: Run[YourParams]' where "
            "YourParams derives from polyvox.workflows.Params."
        )
    return Flow(name, function, arguments[0], inspect.getdoc(function) or "")


def reply_from(flow: Flow, returned: object) -> Reply:
    """Return ``returned`` as a Reply. Raises ModelError("flow_error") if it is not a Reply."""
    if isinstance(returned, Reply):
        return _checked(flow, returned)
    what = type(returned).__name__
    remedy = "Return the result of run.ask(...) or run.converse(...), or your own Reply."
    if inspect.iscoroutine(returned):
        returned.close()
        remedy = "An await is missing: return await run.ask(...)."
    raise ModelError(
        "flow_error", f"Flow {flow.name!r} returned {what} instead of a Reply. {remedy}"
    )


def _checked(flow: Flow, reply: Reply) -> Reply:
    """Return ``reply`` if its parts are parts."""
    parts: Any = reply.parts
    wrong = parts
    if isinstance(parts, tuple | list):
        wrong = next((part for part in parts if not _is_part(part)), None)
    if wrong is None:
        return reply
    raise ModelError(
        "flow_error",
        f"Flow {flow.name!r} returned a Reply with a {type(wrong).__name__} instead of parts. "
        "Write Reply((Text(text),)).",
    )


def _is_part(value: object) -> bool:
    return isinstance(value, get_args(Part))


def load_flow(source: str, filename: str) -> Flow:
    """Execute ``source`` as a separate module and return the one flow it declares.

    ``filename`` is shown in tracebacks. Raises FlowError if the module declares no flow or more
    than one, SyntaxError, and any exception from the module's top level.
    """
    # The name is unique, so no other module's objects can be mistaken for the flow's. The module
    # must be in sys.modules because pydantic looks it up there to resolve annotations.
    name = f"_polyvox_flow_{hashlib.sha256(source.encode()).hexdigest()}"
    module = sys.modules[name] = types.ModuleType(name)
    module.__file__ = filename
    Confinement(name).execute(source, confined(source, filename), filename, module)
    found = [value for value in vars(module).values() if isinstance(value, Flow)]
    own = [f for f in found if f.function.__globals__ is module.__dict__]
    if len(own) != 1:
        names = ", ".join(f.name for f in own) or "none"
        raise FlowError(f"{filename} must declare exactly one @flow function; found: {names}.")
    return own[0]


def confined(source: str, filename: str) -> ast.Module:
    """Parse a flow's module. Raises FlowError if it uses names that a flow must not access."""
    tree = ast.parse(source, filename)
    if found := escapes(tree):
        raise FlowError("\n".join(f"{filename}:{c.line}: {c.message}" for c in found))
    return tree

"""Explains Python's errors to the author of a flow: what is wrong and what to write instead."""

import difflib
import re
from collections.abc import Callable, Iterable

from pydantic import BaseModel

import polyvox.workflows as api
from polyvox.workflows.conversation import Options

_REFERENCE = "docs/reference.md lists its arguments."

_RUN_VALUES = ("calls", "cost", "headers", "notes", "params", "usage")
"""What a Run has besides the members of its class."""


def explained(message: str, params: type[BaseModel] | None = None) -> str:
    """Return ``message`` with what to write instead, or unchanged if that is not known.

    ``params`` is the class of the flow's parameters.
    """
    message = message.replace("Steps.", "run.").replace("Run.", "run.")
    lines = (line.strip() for line in message.splitlines())
    message = " ".join(line for line in lines if not line.startswith("For further information"))
    for pattern, advice in _ADVICE:
        if found := pattern.search(message):
            remedy = advice if isinstance(advice, str) else advice(found, params)
            return f"{message.rstrip('.')}: {remedy}" if remedy else message
    return message


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the known name that ``name`` was probably meant to be, or nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _of_attribute(found: re.Match[str], params: type[BaseModel] | None) -> str:
    """Advise about a missing attribute by the names that the object has."""
    owner, name = found["owner"], found["name"]
    if owner == "coroutine":
        return "an `await` is missing before the call that returns it."
    if owner == "tuple":
        if name in ("text", "parts", "tool_calls", "message", "usage"):
            return "Panel.answers has pairs: `for branch, reply in panel.answers`."
        return "messages, parts and tools are tuples. Use conversation.then(...), or (*old, new)."
    if params is not None and owner == params.__name__:
        known = list(params.model_fields)
        return f"{nearest(name, known)}The parameters are: {', '.join(known) or 'none'}."
    kind = getattr(api, owner, None)
    if not isinstance(kind, type):
        return ""
    names = {one for one in dir(kind) if not one.startswith("_")}
    names |= set(_RUN_VALUES if owner == "Run" else ())
    return f"{nearest(name, names)}{owner} has: {', '.join(sorted(names))}."


def _of_name(found: re.Match[str], _params: type[BaseModel] | None) -> str:
    name = found["name"]
    if name in api.__all__:
        return f"import it: from polyvox.workflows import {name}"
    return nearest(name, api.__all__).strip()


def _of_keyword(found: re.Match[str], _params: type[BaseModel] | None) -> str:
    name = found["name"]
    if name in Options.__dataclass_fields__:
        return (
            "options of a request belong to the conversation: "
            f"run.conversation.with_options({name}=...)."
        )
    if name in ("stream", "streaming"):
        return "write emit=True to stream the answer to the client."
    return _REFERENCE


def _of_option(found: re.Match[str], _params: type[BaseModel] | None) -> str:
    known = [name for name in Options.__dataclass_fields__ if name != "wire"]
    return f"{nearest(found['name'], known)}The options are: {', '.join(known)}."


_Advice = str | Callable[[re.Match[str], type[BaseModel] | None], str]

_ADVICE: tuple[tuple[re.Pattern[str], _Advice], ...] = (
    (
        re.compile(r"object [\w.]+ can't be used in 'await' expression"),
        (
            "remove `await` here. run.note(...), run.now(), run.random(), run.conversation and the "
            "methods of conversations and replies return their result at once."
        ),
    ),
    (re.compile(r"'coroutine' object is not"), "an `await` is missing before a call."),
    (re.compile(r"'(?P<owner>\w+)' object has no attribute '(?P<name>\w+)'"), _of_attribute),
    (re.compile(r"name '(?P<name>\w+)' is not defined"), _of_name),
    (re.compile(r"Options\.__init__\(\) got an unexpected.* '(?P<name>\w+)'"), _of_option),
    (re.compile(r"run\.\w+\(\) got an unexpected.* '(?P<name>\w+)'"), _of_keyword),
    (
        re.compile(r"flow\(\) missing 1 required positional argument: 'function'"),
        "write @flow without parentheses.",
    ),
    (
        re.compile(r"run\.\w+\(\) missing .*'step'"),
        'step names the call in the trace, for example step="draft".',
    ),
    (re.compile(r"(run\.\w+|Branch\.__init__)\(\) (missing|takes)"), _REFERENCE),
    (
        re.compile(r"cannot assign to field|Instance is frozen|cannot be changed by a flow"),
        (
            "conversations, messages, replies and parameters cannot be changed. Their methods "
            "return changed copies: then(...), instructed(...), with_options(...), edited(...)."
        ),
    ),
    (
        re.compile(r"A non-annotated attribute was detected"),
        'every parameter needs a type, for example `model: Model = "openai:gpt-5"`.',
    ),
    (
        re.compile(r"string indices must be integers"),
        "ToolCall.arguments and Reply.text are text; parse JSON with json.loads(...).",
    ),
    (
        re.compile(r"returned NoneType instead of a Reply"),
        "a `return` is missing on this path of the flow.",
    ),
    (
        re.compile(r"raised KeyError"),
        (
            "there is no such key. Use .get(...) for a key that may be missing; in a text for "
            "str.format, write a literal brace as {{ or }}."
        ),
    ),
    (
        re.compile(r"raised JSONDecodeError"),
        (
            "a model may answer with any text. Require JSON with conversation.with_options("
            'format=OutputFormat("json_schema", SCHEMA, "name")) and handle ValueError.'
        ),
    ),
    (
        re.compile(r"found: none\.$"),
        "put @flow above `async def name(run: Run[YourParams]) -> Reply`.",
    ),
)

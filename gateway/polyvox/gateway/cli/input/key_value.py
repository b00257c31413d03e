"""Options of the form ``KEY=VALUE``, where a value that is not valid JSON is text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer

from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError

ParamOption = Annotated[
    list[str] | None,
    typer.Option("--param", help="KEY=VALUE, may be repeated; VALUE is JSON or text."),
]
ParamFileOption = Annotated[
    list[str] | None,
    typer.Option("--param-file", help="KEY=FILE: the text of FILE, for a prompt."),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", help="calls=N, deadline_s=SECONDS or cost_usd=DOLLARS; null removes one."
    ),
]
CardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--card",
        help="Facts for clients, may be repeated: context_window=TOKENS, "
        "max_output_tokens=TOKENS, capabilities=[...], efforts=[...]; null removes one.",
    ),
]
MessageOption = Annotated[str, typer.Option("--message", "-m", help="What is new, and why.")]


def assigned(given: Sequence[str] | None, option: str = "--param") -> dict[str, Json]:
    """Return the values in ``given`` by key. Raises FlowError if one is not KEY=VALUE."""
    return {key: _value(text) for key, text in _pairs(given, option)}


def read_params(given: Sequence[str] | None, files: Sequence[str] | None) -> dict[str, Json]:
    """Return the parameters given as values and as files. Raises FlowError."""
    params = assigned(given)
    for key, name in _pairs(files, "--param-file"):
        try:
            params[key] = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FlowError(f"--param-file {key}: cannot read {name!r}: {error}.") from None
    return params


def _pairs(given: Sequence[str] | None, option: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for pair in given or ():
        key, equals, text = pair.partition("=")
        if not equals:
            raise FlowError(f"{option} {pair!r} is not KEY=VALUE.")
        pairs.append((key, text))
    return pairs


def _value(text: str) -> Json:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text

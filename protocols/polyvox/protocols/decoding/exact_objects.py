"""JSON objects that keep the numbers of the text they were read from.

Python's fast JSON readers turn a whole number beyond 64 bits into a float, and a decimal number
with many digits into the nearest float. The arguments of a tool call must keep their text. Where a
protocol has them as an object and not as text (``input`` of Messages), the object remembers its
text, and ``dump_json`` writes that text.
"""

import json
import re
from typing import Any, Final

import orjson

from polyvox.workflows.conversation import Json

_NAMES: Final = ("input", "arguments")
"""The members that hold the arguments of a call."""

_DIGITS: Final = bytes(
    ord("0") if chr(byte).isdigit() or byte == ord(".") else ord(" ") for byte in range(256)
)
_LONG: Final = b"0" * 16
"""A number with fewer digits is exact."""

_QUOTED: Final = tuple(f'"{name}"'.encode() for name in _NAMES)
_OBJECT: Final = re.compile(rb"\s*:\s*\{")

_NUMBER: Final = re.compile(rb"[\s:\[,{]-?\d[\d.]{15}")


class ExactObject(dict[str, Json]):
    """An object with the ``text`` it was read from: compact, with each number as it was written."""

    __slots__ = ("text",)

    text: str


class _Number(str):
    """The text of a number."""

    __slots__ = ()


def may_have_object_arguments(body: bytes) -> bool:
    """Whether a JSON text has a member of the name of a call's arguments that is an object."""
    for name in _QUOTED:
        at = body.find(name)
        while at >= 0:
            at += len(name)
            if _OBJECT.match(body, at):
                return True
            at = body.find(name, at)
    return False


def has_long_numbers(text: bytes | str) -> bool:
    """Whether a JSON text contains a number that may lose digits when it is read."""
    body = text.encode() if isinstance(text, str) else text
    return _LONG in body.translate(_DIGITS) and _NUMBER.search(body) is not None


def with_exact_arguments(value: Json, text: bytes) -> Json:
    """Return ``value``, which was read from ``text``, with exact arguments of calls in it."""
    _exchange(value, _exact(text))
    return value


def exact_object(value: dict[str, Json], text: str) -> dict[str, Json]:
    """Return ``value``, which was read from ``text``; exact if ``text`` has long numbers."""
    return _named(value, _spelled(_exact(text))) if has_long_numbers(text) else value


def text_of(value: Json) -> str:
    """Return the JSON text of ``value``, with the numbers it was read with."""
    return dump_json(value).decode()


def dump_json(value: Json) -> bytes:
    """Return ``value`` as JSON; exact objects keep their text."""
    return orjson.dumps(value, plain, orjson.OPT_PASSTHROUGH_SUBCLASS)


def write_whole_numbers(value: Json) -> bytes:
    """Return ``value`` as JSON; unlike orjson also with whole numbers beyond 64 bits."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        if "64-bit" not in str(error):
            raise
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read_whole_numbers(text: bytes) -> Json:
    """Return the JSON value in ``text``; whole numbers beyond 64 bits are not made floats."""
    return json.loads(text) if has_long_numbers(text) else orjson.loads(text)


def plain(value: Any) -> Any:
    """Return ``value``, which is not of a basic type, as one that can be written as JSON."""
    match value:
        case ExactObject():
            return orjson.Fragment(value.text)
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case list():
            return list(value)
        case _:
            return dict(value)


def _exchange(value: Json, exact: Json) -> None:
    """Put an exact object in place of each object of arguments with long numbers in ``value``."""
    match value, exact:
        case dict(), dict():
            for name, inner in value.items():
                if name in _NAMES and type(inner) is dict:
                    text = _spelled(exact[name])
                    if has_long_numbers(text):
                        value[name] = _named(inner, text)
                else:
                    _exchange(inner, exact[name])
        case list(), list():
            for inner, inner_exact in zip(value, exact, strict=True):
                _exchange(inner, inner_exact)


def _named(value: dict[str, Json], text: str) -> ExactObject:
    exact = ExactObject(value)
    exact.text = text
    return exact


def _exact(text: bytes | str) -> Json:
    return json.loads(text, parse_int=_Number, parse_float=_Number)


def _spelled(value: Json) -> str:
    match value:
        case _Number():
            return str.__str__(value)
        case dict():
            members = (f"{_spelled(name)}:{_spelled(inner)}" for name, inner in value.items())
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(map(_spelled, value)) + "]"
        case _:
            return orjson.dumps(value).decode()

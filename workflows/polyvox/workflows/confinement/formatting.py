"""``str.format`` for flows, which reads only attributes that the flow may read itself."""

import functools
import importlib
import string
import types
from collections.abc import Callable, Mapping
from typing import Any


class Formatting:
    """Formats strings; attributes named in a format string are read with ``read``."""

    def __init__(self, read: Callable[[Any, str], Any]) -> None:
        self._read = read

    def method(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            # A flow's own subclass may have a method of that name; only str's needs the check.
            found = getattr(value, name)
            if not isinstance(found, types.BuiltinMethodType):
                return found
            return functools.partial(getattr(self, f"_str_{name}"), value)
        if isinstance(value, type) and issubclass(value, str):
            return getattr(self, f"_str_{name}")
        if isinstance(value, super) and issubclass(
            object.__getattribute__(value, "__self_class__"), str
        ):
            text = object.__getattribute__(value, "__self__")
            return functools.partial(getattr(self, f"_str_{name}"), str.__str__(text))
        return getattr(value, name)

    def _str_format(self, text: str, /, *values: Any, **named: Any) -> str:
        # Only a dot reads an attribute.
        if "." not in str.__str__(text):
            return str.format(text, *values, **named)
        return str(self.formatter()().vformat(str.__str__(text), values, named))

    def _str_format_map(self, text: str, named: Mapping[str, Any], /) -> str:
        if "." not in str.__str__(text):
            return str.format_map(text, named)
        return str(self.formatter()().vformat(str.__str__(text), (), named))

    def formatter(self) -> type[string.Formatter]:
        read = self._read

        class Formatter(string.Formatter):
            """The standard library's Formatter, which reads attributes with ``read``."""

            def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
                first, rest = _string_field(field_name)
                found = self.get_value(first, args, kwargs)
                for is_attribute, step in rest:
                    found = read(found, step) if is_attribute else found[step]
                return found, first

        return Formatter


def _string_field(name: str) -> tuple[Any, Any]:
    return importlib.import_module("_string").formatter_field_name_split(name)  # type: ignore[no-any-return]

"""``str.format`` as a flow gets it: it reads no attribute that the flow could not read itself."""

import functools
import importlib
import string
import types
from collections.abc import Callable, Mapping
from typing import Any


class Formatting:
    """Formats texts; attributes that a text asks for are looked up with ``read``."""

    def __init__(self, read: Callable[[Any, str], Any]) -> None:
        self._read = read

    def method(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            # A subclass of the flow's own may have a method of that name; str's needs a look.
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
        # Only a dot asks for an attribute.
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
            """The standard library's, but for attributes that a flow may not read."""

            def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
                first, rest = _string_field(field_name)
                found = self.get_value(first, args, kwargs)
                for is_attribute, step in rest:
                    found = read(found, step) if is_attribute else found[step]
                return found, first

        return Formatter


def _string_field(name: str) -> tuple[Any, Any]:
    return importlib.import_module("_string").formatter_field_name_split(name)  # type: ignore[no-any-return]

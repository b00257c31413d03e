"""Replacements of built-ins and library functions that do more than a flow may do."""

import types
import typing
from typing import Any

import pydantic

from polyvox.workflows.confinement.escapes import ForbiddenReach, mistake_in_text


class _TypeOfMeta(type):
    def __call__(cls, *values: Any, **named: Any) -> Any:
        if len(values) != 1 or named:
            raise ForbiddenReach("type(...) takes one argument in a flow: use class statements.")
        found = type(values[0])
        return TypeOf if issubclass(found, type) else found

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, type)

    def __subclasscheck__(cls, value: type) -> bool:
        return issubclass(value, type)


class TypeOf(metaclass=_TypeOfMeta):
    """The replacement of ``type``, which returns an object's class and does not create classes.

    A class created from values could have names that the checks of the source do not find.
    """

    def __class_getitem__(cls, item: Any) -> Any:
        # Not type[item], because that alias can be called like type and would create classes.
        return types.GenericAlias(cls, item)


class CheckedModel(pydantic.BaseModel):
    """Pydantic's BaseModel without ``from_attributes``, which reads attributes by computed names.

    The deprecated methods that read files or unpickle bytes are removed too. Annotations that are
    strings are checked first, because pydantic evaluates them with all built-ins.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        _check_hint(cls, set())
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        _no_attributes(cls.model_config.get("from_attributes"))

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> typing.Self:
        """Validate ``obj`` with pydantic's options."""
        _no_attributes(options.get("from_attributes"))
        return super().model_validate(obj, **options)

    @classmethod
    def parse_raw(cls, *_: Any, **__: Any) -> typing.Self:
        raise ForbiddenReach("parse_raw is not available to a flow: use model_validate_json.")

    @classmethod
    def parse_file(cls, *_: Any, **__: Any) -> typing.Self:
        raise ForbiddenReach("parse_file is not available to a flow: use model_validate_json.")

    @classmethod
    def from_orm(cls, _obj: Any) -> typing.Self:
        _no_attributes(True)
        raise AssertionError

    @classmethod
    def model_rebuild(cls, *, _parent_namespace_depth: int = 2, **options: Any) -> bool | None:
        """Resolve the annotations again with pydantic's options."""
        _no_attributes(cls.model_config.get("from_attributes"))
        return super().model_rebuild(_parent_namespace_depth=_parent_namespace_depth + 1, **options)


def _check_hint(hint: Any, seen: set[int]) -> None:
    """Raise ForbiddenReach if a string in ``hint``, or in the fields of its types, is forbidden."""
    if id(hint) in seen:
        return
    seen.add(id(hint))
    text = hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else hint
    if isinstance(text, str):
        if mistake := mistake_in_text(text):
            raise ForbiddenReach(mistake)
        return
    inner = list(_arguments(hint))
    if isinstance(hint, type):
        inner += type.__getattribute__(hint, "__dict__").get("__annotations__", {}).values()
    for one in inner:
        _check_hint(one, seen)


def _arguments(hint: Any) -> tuple[Any, ...]:
    """Return the types in ``hint``; other values in Literal and Annotated are not evaluated."""
    match typing.get_origin(hint):
        case typing.Literal:
            return ()
        case typing.Annotated:
            return typing.get_args(hint)[:1]
        case _:
            return typing.get_args(hint)


def withheld(name: str, *_: object, **__: object) -> None:
    raise ForbiddenReach(f"{name}() is not available to a flow.")


def _no_attributes(asked: object) -> None:
    if asked:
        raise ForbiddenReach("from_attributes is not available to a flow: validate a dict.")


def get_origin(hint: Any) -> Any:
    found = typing.get_origin(hint)
    return TypeOf if found is type else found

"""What a flow gets in place of built-ins and of library functions that do more than a flow may."""

import types
import typing
from typing import Any

import pydantic

from polyvox.workflows.confinement.escapes import ForbiddenReach, mistake_in_text


class _TypeOfMeta(type):
    def __call__(cls, *values: Any, **named: Any) -> Any:
        if len(values) != 1 or named:
            raise ForbiddenReach("type(...) takes one value in a flow: write classes out.")
        found = type(values[0])
        return TypeOf if issubclass(found, type) else found

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, type)

    def __subclasscheck__(cls, value: type) -> bool:
        return issubclass(value, type)


class TypeOf(metaclass=_TypeOfMeta):
    """What ``type`` is in a flow: tells an object's class, and makes none.

    A class made from values could hold methods and names that no look at the source would find.
    """

    def __class_getitem__(cls, item: Any) -> Any:
        # Not type[item]: an alias can be called like what it stands for, and would make classes.
        return types.GenericAlias(cls, item)


class CheckedModel(pydantic.BaseModel):
    """Pydantic's, without ``from_attributes``: it reads attributes by names that are values.

    Nor has it the old methods that read files, or objects from bytes. Annotations that are texts
    are looked at first: pydantic evaluates them with all built-ins.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        _check_hint(cls, set())
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        _no_attributes(cls.model_config.get("from_attributes"))

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> typing.Self:
        """Validate ``obj``; the options are pydantic's."""
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
        """Resolve the annotations anew; the options are pydantic's."""
        _no_attributes(cls.model_config.get("from_attributes"))
        return super().model_rebuild(_parent_namespace_depth=_parent_namespace_depth + 1, **options)


def _check_hint(hint: Any, seen: set[int]) -> None:
    """Raise ForbiddenReach for a text in ``hint``, or in the fields it leads to, that does more."""
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
    """Return the types in ``hint``; what Literal and Annotated hold besides is not evaluated."""
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

"""Executes a flow's modules with access only to the names they may import.

The restriction has three parts:

* The source is rejected if it contains a forbidden attribute (``escapes.py``).
* Imports return a facade with the names of ``surface.py`` instead of the module.
* Names that are known only at run time are checked then. Built-ins that take such a name are
  replaced. Accesses to private attributes, ``format`` and assignments to attributes are rewritten
  to call a guard.

A flow is still a program in the server's process. This protects the server's internals from
ordinary mistakes and known tricks; it is not a sandbox for untrusted code.
"""

import abc
import ast
import builtins
import copy
import dataclasses
import functools
import linecache
import types
from collections.abc import Callable, Mapping, Sequence
from decimal import Context
from typing import Any

from polyvox.workflows.confinement.escapes import (
    ALLOWED_BUILTINS,
    FORMATS,
    READ_ONLY,
    WITHHELD_BUILTINS,
    ForbiddenReach,
    denied,
    is_dunder,
    is_private,
    why_denied,
)
from polyvox.workflows.confinement.formatting import Formatting
from polyvox.workflows.confinement.rewriting import CHANGE, GET, SETTERS, Rewriting
from polyvox.workflows.confinement.stand_ins import CheckedModel, TypeOf, get_origin, withheld
from polyvox.workflows.confinement.surface import children, is_known, names_of

_NAMED_TUPLE = frozenset({"_asdict", "_field_defaults", "_fields", "_make", "_replace"})

_OPEN_TO_CHANGES = (BaseException, types.SimpleNamespace, ast.AST, Context)
"""Other classes whose instances a flow may change."""


class Facade:
    """A read-only replacement of a module, with the names that a flow may use."""

    def __init__(self, module: str, values: Mapping[str, object]) -> None:
        vars(self).update(values)
        vars(self)["_module"] = module

    def __getattr__(self, name: str) -> Any:
        # Without the facade in the AttributeError: otherwise ``from x import y`` would look for x.y
        # in the loaded modules.
        if is_dunder(name):
            raise AttributeError(name)
        raise ForbiddenReach(_not_offered(vars(self)["_module"], name))

    def __setattr__(self, name: str, value: object) -> None:
        raise ForbiddenReach("A module cannot be changed by a flow.")

    def __delattr__(self, name: str) -> None:
        raise ForbiddenReach("A module cannot be changed by a flow.")

    def __repr__(self) -> str:
        return f"<module {vars(self)['_module']!r} with the names for flows>"


class Confinement:
    """The restricted environment of one flow's modules, whose names all begin with ``package``.

    ``files`` is the result of ``importlib.resources.files`` in them, if the flow has text files.
    """

    def __init__(self, package: str, files: Callable[[str], object] | None = None) -> None:
        self._package = package
        self._files = files
        self._facades: dict[str, Facade] = {}
        self._formatting = Formatting(self._get)
        self._builtins = self._restricted()

    def execute(
        self, source: str, tree: ast.Module, filename: str, module: types.ModuleType
    ) -> None:
        """Execute ``tree``, the parsed ``source``, as ``module``. Tracebacks show ``filename``."""
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        vars(module)["__builtins__"] = self._builtins
        rewritten = ast.fix_missing_locations(Rewriting(tree).visit(tree))
        exec(compile(rewritten, filename, "exec", dont_inherit=True), vars(module))

    def _restricted(self) -> dict[str, Any]:
        return {
            **{name: getattr(builtins, name) for name in ALLOWED_BUILTINS},
            **{name: functools.partial(withheld, name) for name in WITHHELD_BUILTINS},
            "__build_class__": builtins.__build_class__,
            "__debug__": __debug__,
            "__import__": self._import,
            "type": TypeOf,
            "getattr": self._getattr,
            "hasattr": self._hasattr,
            "setattr": self._setattr,
            "delattr": self._delattr,
            GET: self._get,
            CHANGE: self._changeable,
        }

    def _owns(self, cls: type) -> bool:
        home = type.__getattribute__(cls, "__dict__").get("__module__")
        return type(home) is str and (home == self._package or home.startswith(f"{self._package}."))

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - as the built-in has it
        locals: Mapping[str, object] | None = None,  # noqa: A002 - as the built-in has it
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if isinstance(fromlist, list):
            # The interpreter itself imports a module for a built-in (strptime, warnings), and does
            # not use the result; an import statement passes a tuple.
            builtins.__import__(name, globals, locals, (), level)
            return None
        if level:
            module = builtins.__import__(name, globals, locals, fromlist or (), level)
            if fromlist and "*" in fromlist:
                _check_exports(module)
            return module
        if not is_known(name):
            raise ForbiddenReach(not_importable(name))
        if not fromlist:
            return self._facade(name.partition(".")[0], name)
        facade = self._facade(name)
        for wanted in fromlist:
            if wanted != "*" and wanted not in vars(facade):
                raise ForbiddenReach(_not_offered(name, wanted))
        return facade

    def _facade(self, name: str, imported: str = "") -> Facade:
        known = self._facades.get(name)
        if known is not None:
            return known
        # By the import statement's function, because Temporal's sandbox replaces that.
        module = builtins.__import__(name, None, None, ("*",), 0)
        values = {
            offered: self._guarded(name, offered, getattr(module, offered))
            for offered in names_of(name)
            if hasattr(module, offered)
        }
        below = {child: self._facade(f"{name}.{child}") for child in children(name)}
        self._facades[name] = facade = Facade(name, {**below, **values})
        return facade

    def _guarded(self, module: str, name: str, value: object) -> object:
        """Return the flow's replacement for a name that does more than a flow may do."""
        match module, name:
            case "importlib.resources", "files":
                return self._files_of
            case "importlib.resources", "read_text":
                return self._read_text
            case "importlib.resources", "read_binary":
                return self._read_binary
            case "dataclasses", "dataclass":
                return self._dataclass
            case "dataclasses", "fields":
                return self._fields
            case "functools", "total_ordering":
                return self._total_ordering
            case "functools", "update_wrapper":
                return self._update_wrapper
            case "functools", "wraps":
                return self._wraps
            case "string", "Formatter":
                return self._formatting.formatter()
            case "typing", "get_origin":
                return get_origin
            case "pydantic", "BaseModel":
                return CheckedModel
            case _:
                # A module's list or dict would be shared with other flows.
                return copy.deepcopy(value) if type(value) in (dict, list, set) else value

    def _check_name(self, name: object) -> str:
        if type(name) is not str:
            raise TypeError("attribute name must be string")
        if denied(name):
            raise ForbiddenReach(why_denied(name))
        return name

    def _get(self, value: Any, name: str) -> Any:
        """Return the attribute ``name`` of ``value``. Raises ForbiddenReach."""
        self._check_name(name)
        if name in FORMATS:
            return self._formatting.method(value, name)
        if name in SETTERS:
            return self._safe_setter(value, name)
        if name == "register" and isinstance(value, abc.ABCMeta) and not self._owns(value):
            raise ForbiddenReach(f"A flow cannot register subclasses of {_called(value)}.")
        if is_private(name) and not self._may_look_inside(value, name):
            raise ForbiddenReach(
                f"{name!r} is private to {_called(value)}. A flow may use only public attributes."
            )
        return getattr(value, name)

    def _getattr(self, value: Any, name: str, *default: Any) -> Any:
        try:
            return self._get(value, name)
        except AttributeError:
            if default:
                return default[0]
            raise

    def _hasattr(self, value: Any, name: str) -> bool:
        try:
            self._get(value, name)
        except AttributeError:
            return False
        return True

    def _setattr(self, value: Any, name: str, new: Any) -> None:
        self._no_special(name)
        setattr(self._changeable(value, name), name, new)

    def _delattr(self, value: Any, name: str) -> None:
        self._no_special(name)
        delattr(self._changeable(value, name), name)

    def _no_special(self, name: str) -> None:
        if is_dunder(self._check_name(name)) and name not in READ_ONLY:
            raise ForbiddenReach(why_denied(name))

    def _may_look_inside(self, value: Any, name: str) -> bool:
        if isinstance(value, types.ModuleType):
            return self._is_own_module(value)
        if isinstance(value, super):
            cls: type = object.__getattribute__(value, "__self_class__")
        else:
            cls = value if isinstance(value, type) else type(value)
        line = type.__getattribute__(cls, "__mro__")
        if name in _NAMED_TUPLE and tuple in line:
            return True
        for ancestor in line:
            if name in type.__getattribute__(ancestor, "__dict__"):
                return self._owns(ancestor)
        return self._owns(cls)

    def _is_own_module(self, module: types.ModuleType) -> bool:
        return vars(module).get("__builtins__") is self._builtins

    def _changeable(self, value: Any, name: str) -> Any:
        """Return ``value`` if the flow may set or delete its attribute ``name``."""
        if isinstance(value, types.ModuleType):
            fine = self._is_own_module(value)
        elif isinstance(value, type):
            fine = self._owns(value)
        elif isinstance(value, types.FunctionType):
            fine = value.__globals__.get("__builtins__") is self._builtins
        else:
            fine = self._owns(type(value)) or (
                isinstance(value, _OPEN_TO_CHANGES) and not is_private(name)
            )
        if not fine:
            raise ForbiddenReach(
                f"{name!r} of {_called(value)} cannot be changed by a flow: it is not the flow's."
            )
        return value

    def _safe_setter(self, value: Any, name: str) -> Any:
        """Return ``__setattr__`` or ``__delattr__`` of an object, a class or ``super()``."""
        # Functions instead of partials, which would expose the wrapped function.
        work = getattr(value, name)

        def change(target: Any, attribute: str, *new: Any) -> None:
            self._no_special(attribute)
            self._changeable(target, attribute)
            if isinstance(value, type):
                work(target, attribute, *new)
            else:
                work(attribute, *new)

        if isinstance(value, type):
            return change
        owner = object.__getattribute__(value, "__self__") if isinstance(value, super) else value
        return lambda attribute, *new: change(owner, attribute, *new)

    def _dataclass(self, cls: Any = None, /, **options: Any) -> Any:
        """The standard library's decorator, with checks, as it writes field names into code."""
        if cls is None:
            return functools.partial(self._dataclass, **options)
        if not isinstance(cls, type) or not self._owns(cls):
            raise ForbiddenReach(f"{_called(cls)} cannot be made a dataclass by a flow.")
        for ancestor in type.__getattribute__(cls, "__mro__"):
            inside = type.__getattribute__(ancestor, "__dict__")
            fields = inside.get("__dataclass_fields__", {})
            own = self._owns(ancestor)
            names = [
                *inside.get("__annotations__", {}),
                *fields,
                *(f.name for f in fields.values()),
            ]
            for name in names if own else ():
                self._check_name(name)
                if not name.isidentifier() or (name in FORMATS and issubclass(cls, str)):
                    raise ForbiddenReach(f"{name!r} cannot be the name of a field.")
        return dataclasses.dataclass(cls, **options)

    def _fields(self, class_or_instance: Any) -> Any:
        """The standard library's function, for the flow's own classes only."""
        cls = class_or_instance if isinstance(class_or_instance, type) else type(class_or_instance)
        if not self._owns(cls):
            raise ForbiddenReach(f"The fields of {_called(cls)} are not available to a flow.")
        return dataclasses.fields(class_or_instance)

    def _total_ordering(self, cls: Any) -> Any:
        return functools.total_ordering(self._changeable(cls, "__lt__"))

    def _update_wrapper(self, wrapper: Any, wrapped: Any, *choices: Any, **named: Any) -> Any:
        """The standard library's function, which copies only its default attributes."""
        if choices or named:
            raise ForbiddenReach("functools.update_wrapper takes two arguments in a flow.")
        return functools.update_wrapper(self._changeable(wrapper, "__name__"), wrapped)

    def _wraps(self, wrapped: Any, *choices: Any, **named: Any) -> Any:
        if choices or named:
            raise ForbiddenReach("functools.wraps takes one argument in a flow.")
        return lambda wrapper: self._update_wrapper(wrapper, wrapped)

    def _files_of(self, package: object) -> object:
        if (
            self._files is None
            or not isinstance(package, str)
            or not f"{package}.".startswith(f"{self._package}.")
        ):
            raise ForbiddenReach(
                "A flow may read only the files of its own folder: files(__package__)."
            )
        return self._files(package)

    def _read_text(self, package: str, resource: str, encoding: str = "utf-8") -> str:
        return str(self._read_binary(package, resource), encoding)

    def _read_binary(self, package: str, resource: str) -> bytes:
        found: Any = self._files_of(package)
        return bytes(found.joinpath(resource).read_bytes())


def _check_exports(module: types.ModuleType) -> None:
    """Reject a module that exports names that a flow cannot use, such as those of the guards."""
    exported = vars(module).get("__all__", ())
    plain = type(exported) in (list, tuple) and all(type(name) is str for name in exported)
    if not plain or any(map(is_dunder, exported)):
        raise ForbiddenReach("__all__ must be a list of plain names in a flow.")


def not_importable(module: str) -> str:
    """Return the message for a module that a flow may not import."""
    return f"import of {module!r} is not allowed in a flow."


def _not_offered(module: str, name: str) -> str:
    return f"{module}.{name} is not available to a flow."


def _called(value: object) -> str:
    cls = value if isinstance(value, type) else type(value)
    return str(type.__getattribute__(cls, "__name__"))

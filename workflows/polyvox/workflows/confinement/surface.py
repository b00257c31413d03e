"""The modules that a flow may import, and the names of each that it may use.

A module contains more than its public API: ``dataclasses.sys`` leads to every loaded module.
Therefore a flow never gets a module, only the names listed here, none of which is a module.
"""

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any


def words(text: str) -> frozenset[str]:
    """Return the words of ``text``, for readable sets of names."""
    return frozenset(text.split())


_PUBLIC = "public"
"""All public names that the module itself defines, except those in ``_WITHHELD``."""

_ASYNCIO = words(
    "ALL_COMPLETED Barrier BoundedSemaphore BrokenBarrierError CancelledError Condition Event "
    "FIRST_COMPLETED FIRST_EXCEPTION Future InvalidStateError LifoQueue Lock PriorityQueue Queue "
    "QueueEmpty QueueFull Semaphore Task TaskGroup Timeout TimeoutError create_task ensure_future "
    "gather iscoroutine iscoroutinefunction isfuture shield sleep timeout wait wait_for"
)

_PYDANTIC = words(
    "AfterValidator AliasChoices AliasPath AllowInfNan AnyHttpUrl AnyUrl AwareDatetime BaseModel "
    "Base64Bytes Base64Str BeforeValidator ByteSize ConfigDict Discriminator FailFast Field "
    "FiniteFloat FutureDate FutureDatetime HttpUrl InstanceOf Json JsonValue NaiveDatetime "
    "NegativeFloat NegativeInt NonNegativeFloat NonNegativeInt NonPositiveFloat NonPositiveInt "
    "OnErrorOmit PastDate PastDatetime PlainSerializer PlainValidator PositiveFloat PositiveInt "
    "PrivateAttr SecretStr SerializationInfo SerializeAsAny SerializerFunctionWrapHandler Strict "
    "StrictBool StrictBytes StrictFloat StrictInt StrictStr StringConstraints Tag "
    "ValidationError ValidationInfo ValidatorFunctionWrapHandler WithJsonSchema WrapSerializer "
    "WrapValidator computed_field conbytes condate condecimal confloat conint conlist constr "
    "field_serializer field_validator model_serializer model_validator"
)

_FUNCTOOLS = words(
    "cache cached_property cmp_to_key lru_cache partial partialmethod reduce singledispatch "
    "singledispatchmethod total_ordering update_wrapper wraps"
)

_TYPES = words(
    "EllipsisType GenericAlias MappingProxyType NoneType NotImplementedType SimpleNamespace "
    "UnionType"
)

_MODULES: dict[str, str | frozenset[str]] = {
    "__future__": _PUBLIC,
    "abc": frozenset({"ABC", "abstractmethod"}),
    "ast": _PUBLIC,
    "asyncio": _ASYNCIO,
    "base64": _PUBLIC,
    "collections": _PUBLIC,
    "collections.abc": _PUBLIC,
    "copy": frozenset({"copy", "deepcopy", "Error", "error"}),
    "dataclasses": _PUBLIC,
    "datetime": _PUBLIC,
    "decimal": _PUBLIC,
    "difflib": _PUBLIC,
    "enum": _PUBLIC,
    "fractions": _PUBLIC,
    "functools": _FUNCTOOLS,
    "hashlib": _PUBLIC,
    "html": _PUBLIC,
    "html.entities": _PUBLIC,
    "html.parser": _PUBLIC,
    "importlib": frozenset(),
    "importlib.resources": frozenset({"files", "read_binary", "read_text"}),
    "itertools": _PUBLIC,
    "json": _PUBLIC,
    "json.decoder": frozenset({"JSONDecodeError", "JSONDecoder"}),
    "math": _PUBLIC,
    "operator": _PUBLIC,
    "polyvox": frozenset(),
    "polyvox.workflows": _PUBLIC,
    "polyvox.workflows.checks": _PUBLIC,
    "polyvox.workflows.conversation": _PUBLIC,
    "polyvox.workflows.errors": _PUBLIC,
    "polyvox.workflows.events": _PUBLIC,
    "polyvox.workflows.flow": frozenset({"Flow", "FlowError", "Model", "Params", "flow"}),
    "polyvox.workflows.language": _PUBLIC,
    "polyvox.workflows.linear_patterns": frozenset({"PatternError", "linear_pattern"}),
    "polyvox.workflows.media": _PUBLIC,
    "polyvox.workflows.reply": _PUBLIC,
    "polyvox.workflows.run": _PUBLIC,
    "polyvox.workflows.session": _PUBLIC,
    "polyvox.workflows.testing": _PUBLIC,
    "polyvox.workflows.turn_rules": words("HeaderPatterns TurnRule headers_match"),
    "pydantic": _PYDANTIC,
    "re": _PUBLIC,
    "statistics": _PUBLIC,
    "string": _PUBLIC,
    "textwrap": _PUBLIC,
    "types": _TYPES,
    "typing": _PUBLIC,
    "unicodedata": _PUBLIC,
}

_WITHHELD: dict[str, frozenset[str]] = {
    # Each of these reads an attribute whose name is computed, opens a file, creates classes or code
    # from text, or writes to a module.
    "ast": frozenset({"iter_fields", "main"}),
    "base64": frozenset({"main"}),
    "collections": frozenset({"UserString"}),
    "dataclasses": frozenset({"make_dataclass"}),
    "enum": words(
        "EnumMeta EnumType global_enum global_enum_repr global_flag_repr global_str "
        "pickle_by_enum_name pickle_by_global_name"
    ),
    "hashlib": frozenset({"file_digest"}),
    "operator": frozenset({"attrgetter", "methodcaller"}),
    "typing": words(
        "ForwardRef clear_overloads get_overloads get_type_hints no_type_check "
        "no_type_check_decorator reveal_type"
    ),
}


def is_known(module: str) -> bool:
    """Return whether a flow may import ``module``, a dotted name."""
    return module in _MODULES


def children(module: str) -> list[str]:
    """Return the modules directly below ``module`` that a flow may import, by their last name."""
    head = f"{module}."
    return [
        name.removeprefix(head)
        for name in _MODULES
        if name.startswith(head) and "." not in name.removeprefix(head)
    ]


@functools.cache
def names_of(module: str) -> frozenset[str]:
    """Return the names in ``module`` that a flow may use, without its submodules."""
    listed = _MODULES[module]
    if isinstance(listed, frozenset):
        return listed
    loaded = importlib.import_module(module)
    declared = getattr(loaded, "__all__", None)
    is_own = _defined_in(module)
    public = frozenset(
        name
        for name in (declared if declared is not None else dir(loaded))
        if not name.startswith("_")
        and not isinstance(value := getattr(loaded, name, None), types.ModuleType)
        and (declared is not None or is_own(value))
    )
    return public - _WITHHELD.get(module, frozenset())


def _defined_in(module: str) -> Callable[[object], bool]:
    homes = {module, f"_{module}"}

    def is_own(value: object) -> bool:
        """Return False for classes and functions of other modules; True for other values."""
        if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return True
        if value is Any:  # a class that is the value of Polyvox's type aliases, such as Json
            return True
        return value.__module__ in homes

    return is_own

"""The tables of ``polyvox.toml`` as pydantic models, and messages for its mistakes.

``docs/configuration.md`` describes every key.
"""

import copy
import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from polyvox.activities.registry.virtual_models import name_mistake
from polyvox.activities.storage.backends.urls import url_mistake
from polyvox.protocols.dialects.dialect import (
    UNKNOWN,
    CallIds,
    EffortField,
    ForcedChoice,
    Instructions,
    OutputLimit,
    Responses,
    Thoughts,
)
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.protocols.table import PROTOCOLS
from polyvox.worker.settings.cluster import ClusterSettings
from polyvox.worker.settings.table import Table as _Table

RESERVED_PROVIDERS = frozenset({"simulator", *(f"simulator-{name}" for name in PROTOCOLS)})
# Headers that contain keys; a key in the file could get into logs.
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key"})

_KEY_REMEDY = "put the key into an environment variable and set api_key_env to that variable's name"


def _protocol(name: str) -> str:
    if name not in PROTOCOLS:
        *others, last = map(repr, PROTOCOLS)
        known = f"{', '.join(others)} or {last}"
        raise PydanticCustomError("protocol", "is not known. Use {known}", {"known": known})
    return name


def _server(name: str) -> str:
    if name != UNKNOWN and name not in SERVERS:
        known = ", ".join(sorted((*SERVERS, UNKNOWN)))
        raise PydanticCustomError("name", "is not a known server. Known: {known}", {"known": known})
    return name


def _provider_name(name: str) -> str:
    if name in RESERVED_PROVIDERS:
        raise PydanticCustomError(
            "name", "this name is reserved for the built-in simulator; choose another one"
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise PydanticCustomError(
            "name", "a provider's name must consist of a-z, 0-9 and -, and must not begin with -"
        )
    return name


def _model_name(name: str) -> str:
    if mistake := name_mistake(name):
        raise PydanticCustomError("name", mistake)
    return name


def _base_url(url: str) -> str:
    if re.search(r"[@?#]", url):
        raise PydanticCustomError(
            "secret", "use a URL without user, password, ? and #; " + _KEY_REMEDY
        )
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", url):
        raise PydanticCustomError("url", "use a URL such as 'https://api.example.com/v1'")
    return url.rstrip("/")


def _variable_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise PydanticCustomError(
            "secret", "this is not a valid name of an environment variable; " + _KEY_REMEDY
        )
    return name


def _allowed_host(name: str) -> str:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name):
        raise PydanticCustomError(
            "name", "use a host name without a port, or *.NAME for all names below NAME"
        )
    return name.lower()


def _allowed_origin(origin: str) -> str:
    if origin != "null" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]+", origin):
        raise PydanticCustomError("url", "use an origin such as 'https://app.example.org'")
    return origin.lower()


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            raise PydanticCustomError(
                "secret", "the header {name} contains a key; " + _KEY_REMEDY, {"name": repr(name)}
            )
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.isprintable():
            raise PydanticCustomError(
                "secret",
                "{name} is not a valid header name, or its value is not a single line",
                {"name": repr(name)},
            )
    return headers


Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PriceTable(_Table):
    """``[providers.NAME.prices.MODEL]``."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None


class DialectTable(_Table):
    """``[providers.NAME.dialect]``: changes to what is known about the provider's server.

    A fact that is None stays as it is. ``docs/dialects.md`` describes the facts.
    """

    server: Annotated[str, AfterValidator(_server)] | None = None
    output_limit: OutputLimit | None = None
    accepts: list[str] | None = None
    refuses: list[str] | None = None
    stops: int | None = Field(None, ge=0)
    hottest: float | None = Field(None, gt=0)
    effort_as: EffortField | None = None
    efforts: list[str] | None = None
    json_schema: bool | None = None
    json_object: bool | None = None
    forced_choice: ForcedChoice | None = None
    strict_tools: bool | None = None
    custom_tools: bool | None = None
    instructions: Instructions | None = None
    developer: bool | None = None
    alternate: bool | None = None
    reply_after_results: bool | None = None
    final_reply: bool | None = None
    call_ids: CallIds | None = None
    longest_call_id: int | None = Field(None, ge=20)
    thoughts: Thoughts | None = None
    signatures: bool | None = None
    text_parts: bool | None = None
    message_names: bool | None = None
    strict_messages: bool | None = None
    adaptive_thinking: bool | None = None
    responses: Responses | None = None


class ProviderTable(_Table):
    """``[providers.NAME]``."""

    protocol: Annotated[str, AfterValidator(_protocol)]
    base_url: Annotated[str, AfterValidator(_base_url)]
    api_key_env: Annotated[str, AfterValidator(_variable_name)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(default_factory=dict)
    timeout_s: float = Field(600.0, gt=0, allow_inf_nan=False)
    inline_urls: bool = False
    max_concurrent: int | None = Field(None, ge=1)
    prices: dict[str, PriceTable] = Field(default_factory=dict)
    dialect: DialectTable | None = None


class ModelTable(_Table):
    """``[models.NAME]``; ``params`` are checked later, by the flow's schema."""

    flow: str = Field(min_length=1)
    description: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)
    card: dict[str, Any] = Field(default_factory=dict)


LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class ServerSettings(_Table):
    """``[server]``: the gateway's address and limits.

    ``port`` 0 means any free port. ``drain_s`` is the time running streams have to finish when the
    server stops, ``drain_delay_s`` the time before that in which it still takes requests, while
    load balancers notice that it is not ready. ``keep_alive_s`` is the interval of keep-alive
    messages in a silent stream; ``keep_responses_days`` the time a stored response is available.
    ``register_over_http`` allows
    admin keys to register flows, which are programs that run in the server. ``read_timeout_s``
    limits the time for a request's head and between parts of its body; ``write_timeout_s`` the time
    in which a client reads nothing of its answer. ``allowed_hosts`` are the accepted host names
    besides those that nobody else can own; ``allowed_origins`` the origins of web pages that may
    send requests. ``simulated_models`` says whether the simulated models exist; None means as long
    as there is no other model. ``retry_window_s`` is how long after its end a run whose client is
    gone answers the same request; ``orphans_s`` is the time that a run whose client's process died
    waits for the client's retry before it is ended: 0 is at once, negative never.
    """

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8484, ge=0, le=65535)
    max_body_mib: int = Field(64, ge=1)
    drain_s: float = Field(30.0, ge=0, allow_inf_nan=False)
    drain_delay_s: float = Field(0.0, ge=0, allow_inf_nan=False)
    keep_alive_s: float = Field(10.0, gt=0, allow_inf_nan=False)
    keep_responses_days: float = Field(30.0, gt=0, le=36_500)
    register_over_http: bool = False
    read_timeout_s: float = Field(20.0, gt=0, allow_inf_nan=False)
    write_timeout_s: float = Field(60.0, gt=0, allow_inf_nan=False)
    max_connections_per_address: int = Field(1024, ge=1)
    max_requests_per_key: int = Field(256, ge=1)
    max_runs: int = Field(1000, ge=1)
    max_queued: int = Field(500, ge=0)
    queue_s: float = Field(10.0, ge=0, allow_inf_nan=False)
    breaker_failures: int = Field(5, ge=0)
    breaker_open_s: float = Field(10.0, gt=0, le=60)
    max_answer_mib: int = Field(32, ge=1)
    retry_window_s: float = Field(300.0, ge=0, le=86_400)
    orphans_s: float = Field(30.0, allow_inf_nan=False)
    simulated_models: bool | None = None
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    allowed_hosts: list[Annotated[str, AfterValidator(_allowed_host)]] = Field(default_factory=list)
    allowed_origins: list[Annotated[str, AfterValidator(_allowed_origin)]] = Field(
        default_factory=list
    )


class EngineSettings(_Table):
    """``[engine]``: which engine the runs use.

    ``address`` (``host:port``) is that of an existing cluster, None for the built-in engine.
    ``ui_address`` (``host:port``) is the address of an existing cluster's Web UI.
    """

    address: str | None = None
    namespace: str = Field("default", min_length=1)
    ui_address: str | None = None


def _database(url: str) -> str:
    if wrong := url_mistake(url):
        raise PydanticCustomError("secret", "{wrong}", {"wrong": wrong})
    return url


def _blobs(url: str) -> str:
    if wrong := url_mistake(url, blobs=True):
        raise PydanticCustomError("secret", "{wrong}", {"wrong": wrong})
    return url


Days = Annotated[float, Field(gt=0, le=36_500)]


class StorageSettings(_Table):
    """``[storage]``: where the stores are; None means in the data folder.

    ``database`` and ``blobs`` are URLs. Without ``blobs`` the blobs are beside the database.
    ``keep_runs_days`` is how long ended runs are kept, None for ever; ``keep_model_days`` has other
    values for single models.
    """

    database: Annotated[str, AfterValidator(_database)] | None = None
    blobs: Annotated[str, AfterValidator(_blobs)] | None = None
    keep_runs_days: Days | None = None
    keep_model_days: dict[str, Days] = Field(default_factory=dict)


class ConfigFile(_Table):
    """The contents of ``polyvox.toml``."""

    providers: dict[Annotated[str, AfterValidator(_provider_name)], ProviderTable] = Field(
        default_factory=dict
    )
    models: dict[Annotated[str, AfterValidator(_model_name)], ModelTable] = Field(
        default_factory=dict
    )
    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    cluster: ClusterSettings = ClusterSettings()
    storage: StorageSettings = StorageSettings()


# The tables by their path in the file, for listing the known keys; * stands for any name.
_TABLES: dict[tuple[str, ...], type[_Table]] = {
    (): ConfigFile,
    ("providers", "*"): ProviderTable,
    ("providers", "*", "prices", "*"): PriceTable,
    ("providers", "*", "dialect"): DialectTable,
    ("models", "*"): ModelTable,
    ("server",): ServerSettings,
    ("engine",): EngineSettings,
    ("cluster",): ClusterSettings,
    ("storage",): StorageSettings,
}


def parse_document(document: Mapping[str, Any]) -> tuple[ConfigFile, list[str]]:
    """Parse the contents of the file; return what is valid, and the mistakes in the rest.

    A value with a mistake is left out, or the provider or model that cannot exist without it.
    """
    found: dict[str, str] = {}
    rest = copy.deepcopy(dict(document))
    while True:
        try:
            return ConfigFile.model_validate(rest), [*found.values()]
        except ValidationError as error:
            for mistake in mistakes_in(error):
                # A required value that was left out is missing only because of that.
                found.setdefault(mistake.partition(": ")[0], mistake)
            for detail in error.errors(include_url=False):
                _leave_out(rest, detail)


def _leave_out(document: dict[str, Any], detail: ErrorDetails) -> None:
    """Remove the value that has the mistake; for a missing one, the table that needs it."""
    path = [step for step in detail["loc"] if step != "[key]"]
    if detail["type"] == "missing":
        path.pop()
    table, name = document, path[0]
    for step in path[1:]:
        inner = table.get(str(name))
        if not isinstance(inner, dict):  # an item of a list: the list is left out
            break
        table, name = inner, step
    table.pop(str(name), None)  # an earlier mistake may have removed it


def mistakes_in(error: ValidationError) -> Iterator[str]:
    """Yield each mistake as ``path.in.file: what is wrong and the remedy``."""
    for detail in error.errors(include_url=False):
        path = tuple(str(step) for step in detail["loc"] if step != "[key]")
        yield f"{'.'.join(map(_quoted, path))}: {_remedy(path, detail)}"


def _remedy(path: tuple[str, ...], detail: ErrorDetails) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(path)
        case "missing":
            return f"is missing. Add {path[-1]} = ..."
        case "protocol":
            return f"{detail['input']!r} {detail['msg']}."
        case "name" | "url":
            return f"{detail['input']!r}: {detail['msg']}."
        case "secret":
            return f"{detail['msg']}."
        case "model_type" | "dict_type":
            return f"must be a table: write [{'.'.join(map(_quoted, path))}] and its keys below."
        case _:
            # Numbers are shown; texts are not, because they may be secrets.
            value = detail["input"]
            shown = "" if isinstance(value, str | dict | list) else f"{value!r}: "
            return f"{shown}{detail['msg'].removeprefix('Input ').rstrip('.')}."


def _unknown_key(path: tuple[str, ...]) -> str:
    # Every second element of the path is a name chosen by the operator.
    place = tuple("*" if at % 2 else step for at, step in enumerate(path[:-1]))
    known = sorted(_TABLES[place].model_fields)
    near = difflib.get_close_matches(path[-1], known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if path[0] == "providers" and path[-1] in {"api_key", "key", "token"}:
        hint = f" This file must not contain keys: {_KEY_REMEDY}."
    return f"is not a known key here.{hint} Known: {', '.join(known)}."


def _quoted(step: str) -> str:
    return step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else f'"{step}"'

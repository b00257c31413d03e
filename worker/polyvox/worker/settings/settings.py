"""The operator's settings as one frozen value.

Sources, in order of precedence: command line arguments, the environment (``TEMPORAL_ADDRESS``,
``TEMPORAL_NAMESPACE``, ``TEMPORAL_UI_ADDRESS``), the file ``polyvox.toml``, defaults. There is no
global state: the caller passes in the environment, and passes on the Settings.

Three rules apply. The file contains no provider keys, only the names of the environment variables
that hold them. All mistakes in the file are reported together, each with its path inside the file
and the allowed values. Messages do not repeat values that may be secret.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from polyvox.activities.model_call.provider import Price, Provider, api_key
from polyvox.worker.settings.file import ConfigFile, ProviderTable, mistakes_in

CONFIG_NAME = "polyvox.toml"

# Added automatically if the file declares no providers and the key is in the environment.
WELL_KNOWN_PROVIDERS = (
    Provider("openai", "responses", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    Provider("anthropic", "messages", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
)


class SettingsError(ValueError):
    """The settings are invalid; the message lists every mistake, one per line."""


@dataclass(frozen=True, slots=True)
class DeclaredModel:
    """A virtual model declared in the file; ``params`` are checked later, by the flow's schema."""

    name: str
    flow: str
    description: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The gateway's address and limits.

    ``port`` 0 means any free port. ``drain_s`` is the time running streams have to finish when the
    server stops; ``keep_alive_s`` the interval of keep-alive messages in a silent stream;
    ``keep_responses_days`` the time a stored response is available. ``register_over_http`` allows
    admin keys to register flows, which are programs that run in the server. ``read_timeout_s``
    limits the time for a request's head and between parts of its body; ``write_timeout_s`` the time
    in which a client reads nothing of its answer. ``allowed_hosts`` are the accepted host names
    besides those that nobody else can own; ``allowed_origins`` the origins of web pages that may
    send requests.
    """

    host: str = "127.0.0.1"
    port: int = 8484
    max_body_mib: int = 64
    drain_s: float = 30.0
    keep_alive_s: float = 10.0
    keep_responses_days: float = 30.0
    register_over_http: bool = False
    read_timeout_s: float = 20.0
    write_timeout_s: float = 60.0
    max_connections_per_address: int = 1024
    max_requests_per_key: int = 256
    max_answer_mib: int = 32
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The engine: ``address`` (``host:port``) of an existing cluster, None for the built-in engine.

    ``ui_address`` (``host:port``) is the address of an existing cluster's Web UI.
    """

    address: str | None = None
    namespace: str = "default"
    ui_address: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. ``config`` is the file that was read, if any."""

    data: Path
    config: Path | None = None
    providers: Mapping[str, Provider] = field(default_factory=dict)
    models: Mapping[str, DeclaredModel] = field(default_factory=dict)
    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()


def default_data(environ: Mapping[str, str]) -> Path:
    """Return ``~/.polyvox`` in the home folder named by the environment."""
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".polyvox"


def find_config(data: Path) -> Path | None:
    """Return the default file: in the working directory, else in the data folder, else None."""
    for candidate in (Path(CONFIG_NAME), data / CONFIG_NAME):
        if candidate.is_file():
            return candidate
    return None


def load_settings(
    config: Path | None = None,
    data: Path | None = None,
    *,
    environ: Mapping[str, str],
    host: str | None = None,
    port: int | None = None,
    engine_address: str | None = None,
    namespace: str | None = None,
) -> Settings:
    """Return the settings; for an argument that is None the next source applies.

    Raises SettingsError with the file, the path in it and the remedy. Creates no files.
    """
    data = (data or default_data(environ)).expanduser().absolute()
    config = config.expanduser() if config else find_config(data)
    document = _read(config) if config else ConfigFile()

    address = engine_address or environ.get("TEMPORAL_ADDRESS") or document.engine.address
    if address is not None and not _is_address(address):
        raise SettingsError(
            f"The engine address {address!r} is not HOST:PORT. "
            "Use for example 127.0.0.1:7233 (--engine, TEMPORAL_ADDRESS or engine.address)."
        )
    ui_address = environ.get("TEMPORAL_UI_ADDRESS") or document.engine.ui_address
    if ui_address is not None and not _is_address(ui_address):
        raise SettingsError(
            f"The address {ui_address!r} of the engine's Web UI is not HOST:PORT. "
            "Use for example 127.0.0.1:8080 (TEMPORAL_UI_ADDRESS or engine.ui_address)."
        )
    if port is not None and not 0 <= port <= 65535:
        raise SettingsError(f"The port {port!r} is not between 0 and 65535 (0: any free port).")
    table = document.server
    return Settings(
        data=data,
        config=config.absolute() if config else None,
        providers=_providers(document.providers, environ),
        models={
            name: DeclaredModel(
                name, model.flow, model.description, model.params, model.limits, model.card
            )
            for name, model in document.models.items()
        },
        server=ServerSettings(
            host=host or table.host,
            port=table.port if port is None else port,
            max_body_mib=table.max_body_mib,
            drain_s=table.drain_s,
            keep_alive_s=table.keep_alive_s,
            keep_responses_days=table.keep_responses_days,
            register_over_http=table.register_over_http,
            read_timeout_s=table.read_timeout_s,
            write_timeout_s=table.write_timeout_s,
            max_connections_per_address=table.max_connections_per_address,
            max_requests_per_key=table.max_requests_per_key,
            max_answer_mib=table.max_answer_mib,
            allowed_hosts=tuple(table.allowed_hosts),
            allowed_origins=tuple(table.allowed_origins),
        ),
        engine=EngineSettings(
            address=address,
            namespace=namespace or environ.get("TEMPORAL_NAMESPACE") or document.engine.namespace,
            ui_address=ui_address if address is not None else None,
        ),
    )


def _read(config: Path) -> ConfigFile:
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"The configuration file {str(config)!r} does not exist. Check --config, or omit it."
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{config}: is not UTF-8 text. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config}: is not valid TOML: {error}. Correct that line.") from None
    except OSError as error:
        raise SettingsError(f"{config}: cannot be read: {error.strerror}.") from None
    try:
        return ConfigFile.model_validate(document)
    except ValidationError as error:
        lines = (f"{config}: {mistake}" for mistake in mistakes_in(error))
        raise SettingsError("\n".join(lines)) from None


def _providers(
    tables: Mapping[str, ProviderTable], environ: Mapping[str, str]
) -> dict[str, Provider]:
    if not tables:
        return {p.name: p for p in WELL_KNOWN_PROVIDERS if api_key(p, environ)}
    return {
        name: Provider(
            name,
            table.protocol,
            table.base_url,
            table.api_key_env,
            table.headers,
            table.timeout_s,
            table.inline_urls,
            {model: Price(**price.model_dump()) for model, price in table.prices.items()},
        )
        for name, table in tables.items()
    }


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "/" not in host and port.isdigit() and 0 < int(port) < 65536

"""The operator's settings as one frozen value.

Sources, in order of precedence: command line arguments, the environment (``TEMPORAL_ADDRESS``,
``TEMPORAL_NAMESPACE``, ``TEMPORAL_UI_ADDRESS``, ``POLYVOX_DATABASE``, ``POLYVOX_BLOBS``), the file
``polyvox.toml``, defaults. There is no global state: the caller passes in the environment, and
passes on the Settings.

Three rules apply. The file contains no provider keys, only the names of the environment variables
that hold them. All mistakes in the file are reported together, each with its line, its path inside
the file and the allowed values. Messages do not repeat values that may be secret.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyvox.activities.ledger.retention import Retention
from polyvox.activities.model_call.provider import Price, Provider, api_key
from polyvox.activities.storage.backends.urls import StoreUrls, store_urls, url_mistake
from polyvox.worker.settings.cluster import ClusterSettings
from polyvox.worker.settings.file import (
    EngineSettings,
    ModelTable,
    ProviderTable,
    ServerSettings,
    StorageSettings,
    parse_document,
)
from polyvox.worker.settings.toml_lines import lines_of

CONFIG_NAME = "polyvox.toml"
DATABASE_VARIABLE = "POLYVOX_DATABASE"
BLOBS_VARIABLE = "POLYVOX_BLOBS"

# Added automatically if the file declares no providers and the key is in the environment.
WELL_KNOWN_PROVIDERS = (
    Provider("openai", "responses", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    Provider("anthropic", "messages", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
)


class SettingsError(ValueError):
    """The settings are invalid; the message lists every mistake, one per line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. ``config`` is the file that was read, if any; ``lines`` are the lines of its
    keys by their path, joined with dots."""

    data: Path
    config: Path | None = None
    providers: Mapping[str, Provider] = field(default_factory=dict)
    models: Mapping[str, ModelTable] = field(default_factory=dict)
    server: ServerSettings = field(default_factory=ServerSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def stores(self) -> StoreUrls:
        """Where the stores are."""
        return store_urls(self.data, self.storage.database, self.storage.blobs)

    @property
    def retention(self) -> Retention:
        """How long ended runs are kept."""
        return Retention(self.storage.keep_runs_days, self.storage.keep_model_days)

    def located(self, mistakes: Iterable[str]) -> list[str]:
        """Return ``mistakes``, each ``path.in.file: what is wrong``, with the file and the line."""
        return [f"{self._place(mistake)}: {mistake}" for mistake in mistakes]

    def _place(self, mistake: str) -> str:
        path = mistake.partition(": ")[0].replace('"', "")
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return f"{self.config}, line {self.lines[path]}" if path else str(self.config)


@dataclass(frozen=True, slots=True)
class Reading:
    """Settings and what is wrong with them.

    ``settings`` has what could be read; each of ``mistakes`` begins with the file and the line.
    ``named_providers`` are all that the file declares, also those with a mistake.
    """

    settings: Settings
    mistakes: tuple[str, ...] = ()
    named_providers: frozenset[str] = frozenset()


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
    database: str | None = None,
    blobs: str | None = None,
) -> Settings:
    """Return the settings; for an argument that is None the next source applies.

    Raises SettingsError with the file, the line, the path in it and the remedy. Creates no files.
    """
    reading = read_settings(
        config,
        data,
        environ=environ,
        host=host,
        port=port,
        engine_address=engine_address,
        namespace=namespace,
        database=database,
        blobs=blobs,
    )
    if reading.mistakes:
        raise SettingsError("\n".join(reading.mistakes))
    return reading.settings


def read_settings(
    config: Path | None = None,
    data: Path | None = None,
    *,
    environ: Mapping[str, str],
    host: str | None = None,
    port: int | None = None,
    engine_address: str | None = None,
    namespace: str | None = None,
    database: str | None = None,
    blobs: str | None = None,
) -> Reading:
    """Return the settings and every mistake in them; see ``load_settings``.

    Raises SettingsError if the file cannot be read or is not TOML.
    """
    data = (data or default_data(environ)).expanduser().absolute()
    config = config.expanduser() if config else find_config(data)
    text = _read(config) if config else ""
    raw = _parsed(text, config)
    document, wrong = parse_document(raw)
    mistakes: list[str] = []

    address = engine_address or environ.get("TEMPORAL_ADDRESS") or document.engine.address
    if address is not None and not _is_address(address):
        mistakes.append(
            f"The engine address {address!r} is not HOST:PORT. "
            "Use for example 127.0.0.1:7233 (--engine, TEMPORAL_ADDRESS or engine.address)."
        )
        address = None
    ui_address = environ.get("TEMPORAL_UI_ADDRESS") or document.engine.ui_address
    if ui_address is not None and not _is_address(ui_address):
        mistakes.append(
            f"The address {ui_address!r} of the engine's Web UI is not HOST:PORT. "
            "Use for example 127.0.0.1:8080 (TEMPORAL_UI_ADDRESS or engine.ui_address)."
        )
        ui_address = None
    storage, unusable = _storage(document.storage, environ, database, blobs)
    mistakes += unusable
    if port is not None and not 0 <= port <= 65535:
        mistakes.append(f"The port {port!r} is not between 0 and 65535 (0: any free port).")
        port = None
    settings = Settings(
        data=data,
        config=config.absolute() if config else None,
        providers=_providers(document.providers, environ),
        models=document.models,
        server=document.server.model_copy(
            update={
                "host": host or document.server.host,
                "port": document.server.port if port is None else port,
            }
        ),
        engine=EngineSettings(
            address=address,
            namespace=namespace or environ.get("TEMPORAL_NAMESPACE") or document.engine.namespace,
            ui_address=ui_address if address is not None else None,
        ),
        cluster=document.cluster,
        storage=storage,
        lines={".".join(path): line for path, line in lines_of(text).items()},
    )
    named = raw.get("providers", {})
    return Reading(
        settings,
        (*in_order(settings.located(wrong)), *mistakes),
        frozenset(named if isinstance(named, dict) else ()),
    )


def _storage(
    table: StorageSettings, environ: Mapping[str, str], database: str | None, blobs: str | None
) -> tuple[StorageSettings, list[str]]:
    """Return where the stores are, and the mistakes in it; a URL with a mistake is left out."""
    given = {
        "database": database or environ.get(DATABASE_VARIABLE),
        "blobs": blobs or environ.get(BLOBS_VARIABLE),
    }
    mistakes = [
        f"The URL of the {name} {wrong} (--{name}, POLYVOX_{name.upper()} or storage.{name})."
        for name, url in given.items()
        if url and (wrong := url_mistake(url, blobs=name == "blobs"))
    ]
    sound = {n: u for n, u in given.items() if u and not url_mistake(u, blobs=n == "blobs")}
    return table.model_copy(update=sound), mistakes


def in_order(mistakes: Iterable[str]) -> list[str]:
    """Return located mistakes in the order of their lines."""
    return sorted(mistakes, key=lambda mistake: _line(mistake) or 0)


def _line(mistake: str) -> int | None:
    number = mistake.partition(", line ")[2].partition(":")[0]
    return int(number) if number.isdigit() else None


def _read(config: Path) -> str:
    try:
        return config.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"The configuration file {str(config)!r} does not exist. Check --config, or omit it."
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{config}: is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise SettingsError(f"{config}: cannot be read: {error.strerror}.") from None


def _parsed(text: str, config: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config}: is not valid TOML: {error}. Correct that line.") from None


def _providers(
    tables: Mapping[str, ProviderTable], environ: Mapping[str, str]
) -> dict[str, Provider]:
    if not tables:
        return {p.name: p for p in WELL_KNOWN_PROVIDERS if api_key(p, environ)}
    return {
        name: Provider(
            name,
            **{
                **dict(table),
                "prices": {model: Price(**dict(price)) for model, price in table.prices.items()},
                "dialect": table.dialect.model_dump(exclude_none=True) if table.dialect else {},
            },
        )
        for name, table in tables.items()
    }


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "/" not in host and port.isdigit() and 0 < int(port) < 65536

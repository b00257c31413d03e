"""``polyvox providers``: the providers, and what their servers accept."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from polyvox.activities.model_call.provider import Provider, api_key
from polyvox.gateway.cli.input.options import JsonOption, console, give_up, print_json
from polyvox.gateway.cli.output.format import plain_table
from polyvox.protocols.dialects.dialect import FACTS, FULL, UNKNOWN, Dialect, Source
from polyvox.protocols.dialects.servers import SERVERS, dialect_of
from polyvox.worker.settings.file import RESERVED_PROVIDERS
from polyvox.worker.settings.settings import Settings, SettingsError, load_settings
from polyvox.workflows.conversation import Json

# As those of `up`, which imports the whole server.
DataOption = Annotated[
    Path | None,
    typer.Option("--data", envvar="POLYVOX_DATA", help="Data folder; default ~/.polyvox."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Default: ./polyvox.toml, else polyvox.toml in the data folder."),
]


def list_providers(
    data: DataOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the providers of the configuration, each with its server and whether its key is set."""
    providers = _settings(data, config).providers
    documents = [_summary(provider) for provider in providers.values()]
    if as_json:
        print_json(documents)
        return
    if not documents:
        console().print(Text("No providers. Declare one in polyvox.toml, or set a key variable."))
        return
    table = plain_table("PROVIDER", "PROTOCOL", "ADDRESS", "SERVER", "KEY")
    for document in documents:
        cells = (document[name] for name in ("name", "protocol", "base_url", "server", "key"))
        table.add_row(*(Text(str(cell)) for cell in cells))
    console().print(table)


def show_provider(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A provider, or a known server such as mistral.")
    ],
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a provider's server accepts, and where each fact comes from."""
    settings = _settings(data, config)
    provider = settings.providers.get(name)
    if name in RESERVED_PROVIDERS:
        name = FULL.server
    if provider is None and name not in SERVERS and name != UNKNOWN:
        known = ", ".join(settings.providers) or "none"
        servers = ", ".join(sorted(SERVERS))
        give_up(f"No provider is called {name!r}. Providers: {known}. Known servers: {servers}.")
    if provider is None:
        dialect, changes = dialect_of("", {"server": name}), dict[str, Json]()
    else:
        dialect = dialect_of(provider.base_url, provider.dialect)
        changes = dict(provider.dialect)
    document = _document(dialect, changes)
    if provider is not None:
        document = {**_summary(provider), **document}
    if as_json:
        print_json(document)
    else:
        _print(document)


def _settings(data: Path | None, config: Path | None) -> Settings:
    try:
        return load_settings(config, data, environ=os.environ)
    except SettingsError as error:
        give_up(str(error))


def _summary(provider: Provider) -> dict[str, Any]:
    key = "not needed"
    if provider.api_key_env is not None:
        state = "set" if api_key(provider, os.environ) else "not set"
        key = f"{provider.api_key_env} ({state})"
    return {
        "name": provider.name,
        "protocol": provider.protocol,
        "base_url": provider.base_url,
        "server": dialect_of(provider.base_url, provider.dialect).server,
        "key": key,
    }


def _document(dialect: Dialect, changes: dict[str, Json]) -> dict[str, Any]:
    server = SERVERS.get(dialect.server)
    sources = () if server is None else server.sources
    return {
        "server": dialect.server,
        "dialect": {
            fact: {
                "value": _value(getattr(dialect, fact)),
                "from": "polyvox.toml" if fact in changes else _origin(dialect, fact, sources),
            }
            for fact in FACTS
            if fact != "server"
        },
        "sources": [
            {"facts": list(source.facts), "page": source.page, "read": source.read}
            for source in sources
        ],
    }


def _value(value: Any) -> Json:
    if isinstance(value, frozenset):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


def _origin(dialect: Dialect, fact: str, sources: tuple[Source, ...]) -> str:
    if any(fact in source.facts for source in sources):
        return dialect.server
    return "default" if sources or not dialect.is_known else dialect.server


def _print(document: dict[str, Any]) -> None:
    out = console()
    for name in ("name", "protocol", "base_url", "key", "server"):
        if name in document:
            out.print(Text(f"{name}: {document[name]}"))
    table = plain_table("FACT", "VALUE", "FROM")
    for fact, entry in document["dialect"].items():
        table.add_row(fact, Text(_shown(entry["value"])), entry["from"])
    out.print(table)
    for source in document["sources"]:
        out.print(Text(f"{', '.join(source['facts'])}: {source['page']} (read {source['read']})"))


def _shown(value: Json) -> str:
    match value:
        case True | False:
            return "yes" if value else "no"
        case None:
            return "-"
        case []:
            return "none"
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)

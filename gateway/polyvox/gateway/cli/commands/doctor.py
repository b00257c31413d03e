"""``polyvox doctor``: check what the program needs to run, and print how to fix it."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict

import typer

from polyvox.gateway.cli.commands.up import (
    ConfigOption,
    DataOption,
    EngineOption,
    HostOption,
    PortOption,
)
from polyvox.gateway.cli.input.options import JsonOption, console, print_json
from polyvox.gateway.own_keys import UnusableKey, find_keys
from polyvox.gateway.program import is_exposed
from polyvox.worker.doctor import Finding, examine
from polyvox.worker.settings.checking import all_mistakes
from polyvox.worker.settings.settings import Settings, SettingsError, default_data, read_settings

_MARKS = {"ok": "[green]ok  [/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}


def doctor(
    data: DataOption = None,
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check Python, engine, ports, data folder, config, keys and providers."""
    environ = dict(os.environ)
    invalid: SettingsError | None = None
    try:
        reading = read_settings(
            config, data, environ=environ, host=host, port=port, engine_address=engine
        )
        settings = reading.settings
        if mistakes := all_mistakes(reading):
            invalid = SettingsError("\n".join(mistakes))
    except SettingsError as error:
        settings, invalid = Settings(data=data or default_data(environ)), error
    findings = [*asyncio.run(examine(settings, environ, invalid)), _own_keys(settings, environ)]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        out = console()
        for finding in findings:
            out.print(f"{_MARKS[finding.status]}  {finding.check}: ", end="")
            out.print(finding.detail, markup=False)
            if finding.remedy:
                out.print(f"      -> {finding.remedy}", markup=False)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


def _own_keys(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Check the keys that a start would take from the environment or the data folder."""
    try:
        found = find_keys(settings.data, environ, exposed=is_exposed(settings.server.host))
    except UnusableKey as error:
        return Finding("Polyvox's keys", "fail", str(error), "Change the key and start again.")
    if found.user is None:
        return Finding("Polyvox's keys", "ok", "made at the first start, or with `keys create`")
    return Finding("Polyvox's keys", "ok", f"the user key is in {found.user_place}")

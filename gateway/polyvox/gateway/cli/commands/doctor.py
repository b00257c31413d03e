"""``polyvox doctor``: check what the program needs to run, and print how to fix it."""

import asyncio
import os
from dataclasses import asdict

import typer

from polyvox.gateway.cli.commands.up import ConfigOption, DataOption
from polyvox.gateway.cli.input.options import JsonOption, console, print_json
from polyvox.worker.doctor import examine
from polyvox.worker.settings.settings import Settings, SettingsError, default_data, load_settings

_MARKS = {"ok": "[green]ok  [/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}


def doctor(
    data: DataOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Check Python, engine, ports, data folder, config, keys and providers."""
    environ = dict(os.environ)
    invalid: SettingsError | None = None
    try:
        settings = load_settings(config, data, environ=environ)
    except SettingsError as error:
        settings, invalid = Settings(data=data or default_data(environ)), error
    findings = asyncio.run(examine(settings, environ, invalid))
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

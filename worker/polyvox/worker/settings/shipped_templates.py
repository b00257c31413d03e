"""Registers the shipped template flows and the models of the settings at the start."""

import getpass
from importlib.resources import files

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import FROM_FILE, ModelSpec, Plan, ResolvedModel
from polyvox.worker.settings.file import RESERVED_PROVIDERS
from polyvox.worker.settings.settings import WELL_KNOWN_PROVIDERS, Settings
from polyvox.workflows.conversation import Json
from polyvox.workflows.flow import FlowError

TEMPLATES = ("direct", "fusion", "vision", "router", "verify", "patch", "consult")

SIMULATED: dict[str, tuple[str, dict[str, Json], str]] = {
    "simulated": ("direct", {"model": "simulator:main"}, "Simulated: one model answers"),
    "simulated-fusion": (
        "fusion",
        {
            "main": "simulator:main",
            "panel": ["simulator:optimist", "simulator:skeptic", "simulator:engineer"],
            "judge": "simulator:judge",
        },
        "Simulated: a panel of three answers, a judge compares, one model writes",
    ),
}
"""Virtual models that use the built-in simulator, so that the first start has working models."""


def register_templates(registry: Registry) -> None:
    """Register the flows shipped with this release; an unchanged flow keeps its version."""
    folder = files("polyvox.workflows.templates")
    for name in TEMPLATES:
        source = folder.joinpath(f"{name}.py").read_text()
        registry.register(source, f"{name}.py", message="ships with Polyvox", revive=False)


def apply_models(registry: Registry, settings: Settings, *, dry_run: bool = False) -> Plan:
    """Change the registry's models to those declared in the settings' file; return the plan.

    All changes are made at once. Only models that differ get a new version. Models that were
    declared in the file before and are no longer in it are retired; without a file none are.
    Raises FlowError that names each mistake with its line.
    """
    if settings.config is None:
        return ()
    try:
        return registry.change(
            declared(settings),
            author=system_user(),
            message=f"from {settings.config.name}",
            origin=FROM_FILE,
            absent_of=FROM_FILE,
            providers=known_providers(registry, settings),
            dry_run=dry_run,
        )
    except FlowError as error:
        raise FlowError("\n".join(settings.located(explained(error)))) from None


def declared(settings: Settings) -> dict[str, ModelSpec]:
    """Return the models that the settings' file declares."""
    return {
        name: ModelSpec(model.flow, model.params, model.description or "", model.limits, model.card)
        for name, model in settings.models.items()
    }


def known_providers(registry: Registry, settings: Settings) -> set[str]:
    """Return the names of the providers that models may name: the settings', those of the server
    that ran last, whose environment may have other keys, and the simulator's."""
    return {*settings.providers, *registry.known_providers(), *RESERVED_PROVIDERS}


def explained(error: FlowError) -> list[str]:
    """Return the lines of ``error``; for a provider without its key they name the variable."""
    return [_with_variable(line) for line in str(error).splitlines()]


def _with_variable(line: str) -> str:
    for provider in WELL_KNOWN_PROVIDERS:
        if f"'{provider.name}:" in line and "names no known provider" in line:
            return f"{line} {provider.name} exists if {provider.api_key_env} is set."
    return line


def apply_simulated(registry: Registry, settings: Settings) -> Plan:
    """Create or retire the simulated models, and return the plan.

    They exist if ``server.simulated_models`` says so; if it says nothing, as long as the operator
    has no model. A model of their name that the operator made or changed is left unchanged.
    """
    present = {model.model: model for model in registry.virtual_models()}
    own = {name for name, model in present.items() if not _is_simulated(model)}
    wanted = settings.server.simulated_models
    change: dict[str, ModelSpec | None] = {}
    for name, (flow, params, about) in SIMULATED.items():
        if name in own:
            continue
        if wanted if wanted is not None else not own:
            change[name] = ModelSpec(flow, params, about)
        elif name in present:
            change[name] = None
    return registry.change(change, message="first start")


def _is_simulated(model: ResolvedModel) -> bool:
    flow, params, _ = SIMULATED.get(model.model, ("", {}, ""))
    ours = model.flow.partition("@")[0] == flow and model.params == params
    return ours and model.origin != FROM_FILE


def system_user() -> str:
    """Return the operating system's user, recorded as the author of command line changes."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # users of containers may have no name
        return "unknown"

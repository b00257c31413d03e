"""Registers the shipped template flows and the models of the settings at the start."""

import getpass
from importlib.resources import files

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import FROM_FILE, ModelSpec, Plan
from polyvox.worker.settings.settings import Settings
from polyvox.workflows.conversation import Json

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


def apply_models(
    registry: Registry, settings: Settings, *, simulated: bool = False, dry_run: bool = False
) -> Plan:
    """Change the registry's models to those declared in the settings' file; return the plan.

    All changes are made at once. Only models that differ get a new version. Models that were
    declared in the file before and are no longer in it are retired; without a file none are.
    Raises FlowError that names each mistake.
    """
    if settings.config is None:
        plan: Plan = ()
    else:
        plan = registry.change(
            {
                name: ModelSpec(
                    model.flow, model.params, model.description or "", model.limits, model.card
                )
                for name, model in settings.models.items()
            },
            author=system_user(),
            message=f"from {settings.config.name}",
            origin=FROM_FILE,
            absent_of=FROM_FILE,
            dry_run=dry_run,
        )
    if simulated:
        models = {
            n: ModelSpec(flow, params, about) for n, (flow, params, about) in SIMULATED.items()
        }
        registry.change(models, message="first start")
    return plan


def system_user() -> str:
    """Return the operating system's user, recorded as the author of command line changes."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # users of containers may have no name
        return "unknown"

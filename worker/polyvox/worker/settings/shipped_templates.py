"""What is there from the start: the template flows, and the models of the settings."""

import getpass
from importlib.resources import files

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import FROM_FILE, ModelSpec, Plan
from polyvox.worker.settings.settings import DeclaredModel, Settings
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
"""Virtual models over the built-in simulator, so that a first start has something to call."""


def register_templates(registry: Registry) -> None:
    """Register the flows that ship with this version; unchanged ones stay the version they are."""
    folder = files("polyvox.workflows.templates")
    for name in TEMPLATES:
        source = folder.joinpath(f"{name}.py").read_text()
        registry.register(source, f"{name}.py", message="ships with Polyvox", revive=False)


def apply_models(
    registry: Registry, settings: Settings, *, simulated: bool = False, dry_run: bool = False
) -> Plan:
    """Make the registry's models what the settings' file declares, as one change; return the plan.

    Only what differs becomes a new version. A model that came from the file and is not in it any
    more is retired. Without a file nothing is. Raises FlowError naming each mistake.
    """
    if settings.config is None:
        plan: Plan = ()
    else:
        plan = registry.change(
            {name: wanted(model) for name, model in settings.models.items()},
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


def wanted(model: DeclaredModel) -> ModelSpec:
    """Return what the file wants of a model."""
    return ModelSpec(model.flow, model.params, model.description or "", model.limits, model.card)


def system_user() -> str:
    """Return who changes something from the command line: the operating system's user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"

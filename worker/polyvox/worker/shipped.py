"""What is there from the start: the template flows, and the models of the settings."""

from importlib.resources import files

from polyvox.activities.registry import Registry
from polyvox.worker.settings import Settings
from polyvox.workflows.conversation import Json

TEMPLATES = ("direct", "fusion")

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
        registry.register(source, f"{name}.py", message="ships with Polyvox")


def apply_models(registry: Registry, settings: Settings, *, simulated: bool) -> None:
    """Bind the settings' models; only what differs becomes a new version.

    Raises FlowError for a model whose flow is unknown or refuses its parameters.
    """
    for name, model in settings.models.items():
        registry.bind(
            name,
            model.flow,
            model.params,
            description=model.description or "",
            message=f"from {settings.config.name}" if settings.config else "",
        )
    if simulated:
        for name, (flow, params, description) in SIMULATED.items():
            registry.bind(name, flow, params, description=description, message="first start")

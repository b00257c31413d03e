"""What the registry's tables say at one revision, in memory: flow versions and virtual models."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, col, select

from polyvox.activities.registry.tables import VirtualModelRow
from polyvox.activities.registry.virtual_models import ResolvedModel
from polyvox.workflows.flow import Flow, FlowError


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """``name`` is like ``fusion@3``; ``digest`` is the address of its source.

    ``needs_params`` is None where an older program registered it and did not say.
    """

    flow: str
    version: int
    digest: str
    filename: str
    created_at: datetime
    message: str = ""
    author: str = ""
    description: str = ""
    needs_params: bool | None = None
    retired_at: datetime | None = None

    @property
    def name(self) -> str:
        return f"{self.flow}@{self.version}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """``flows`` has every version by its name, ``newest`` those in use by their flow's name.

    ``models`` has the newest version of each virtual model that is in use.
    """

    revision: int = -1
    flows: dict[str, FlowVersion] = field(default_factory=dict)
    newest: dict[str, FlowVersion] = field(default_factory=dict)
    models: dict[str, ResolvedModel] = field(default_factory=dict)

    def no_flow(self, name: str) -> str:
        """Say that there is no such flow to be used, and what there is."""
        if any(name in (version.name, version.flow) for version in self.flows.values()):
            return f"{name!r} is retired. Register its source again to bring it back."
        return (
            f"There is no flow {name!r}.{_near(name, self.newest)} Flows: {_listed(self.newest)}."
        )

    def no_model(self, name: str) -> str:
        """Say that there is no such virtual model, and what there is."""
        return f"No model named {name!r}.{_near(name, self.models)} Models: {_listed(self.models)}."


def read_catalog(engine: Engine, revision: int) -> Catalog:
    """Read the tables, but for the flows' sources, which may be large."""
    catalog = Catalog(revision)
    flows = SQLModel.metadata.tables["flow_versions"].c
    facts = sqlalchemy.select(*(column for column in flows if column.name != "source"))
    with engine.connect() as connection:
        # Plain rows: an object of the ORM for each would take ten times as long.
        for row in connection.execute(facts.order_by(flows.version)):
            version = version_of(row)
            catalog.flows[version.name] = version
            if version.retired_at is None:
                catalog.newest[version.flow] = version
    with Session(engine) as session:
        for model in session.exec(select(VirtualModelRow).order_by(col(VirtualModelRow.version))):
            catalog.models[model.name] = binding_of(model)
    for name in [name for name, binding in catalog.models.items() if binding.retired]:
        del catalog.models[name]
    return catalog


def version_of(row: Any) -> FlowVersion:
    """Return one version of a flow, a FlowRow or its columns, as a value."""
    return FlowVersion(
        row.name,
        row.version,
        row.digest,
        row.filename,
        row.created_at,
        row.message,
        row.author or "",
        row.description or "",
        row.needs_params,
        row.retired_at,
    )


def needs_params(version: FlowVersion, load: Callable[[str], Flow]) -> bool:
    """Whether a version cannot run on its defaults alone; ``load`` gives the flow of a digest."""
    if version.needs_params is not None:
        return version.needs_params
    try:
        return load(version.digest).needs_params
    except FlowError:
        # It was stored before the rules of now and breaks them: it is not offered by its name.
        return True


def binding_of(row: VirtualModelRow) -> ResolvedModel:
    """Return one version of a virtual model as a value."""
    return ResolvedModel(
        row.name,
        row.flow,
        row.digest,
        row.params,
        row.description,
        row.created_at,
        row.limits or {},
        row.version,
        row.author or "",
        row.message,
        row.origin or "",
        bool(row.retired),
        row.card or {},
    )


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

"""The contents of the registry's tables at one revision: flow versions and virtual models."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from polyvox.activities.registry.tables import FlowRow, VirtualModelRow
from polyvox.activities.registry.virtual_models import ResolvedModel
from polyvox.workflows.flow import Flow, FlowError


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """The columns of a FlowRow except its source. ``name`` is like ``fusion@3``.

    ``digest`` is the address of the source. ``needs_params`` is None if an older program, which did
    not record it, registered the version.
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


V = TypeVar("V", FlowVersion, ResolvedModel)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The contents of the tables at ``revision``.

    ``flows`` has every version by its name (``fusion@3``), ``newest`` the newest version in use by
    its flow's name, ``models`` the newest version of each virtual model in use.
    """

    revision: int = -1
    flows: dict[str, FlowVersion] = field(default_factory=dict)
    newest: dict[str, FlowVersion] = field(default_factory=dict)
    models: dict[str, ResolvedModel] = field(default_factory=dict)

    def no_flow(self, name: str) -> str:
        """Return the message for a flow that is unknown or retired; it lists the known flows."""
        if any(name in (version.name, version.flow) for version in self.flows.values()):
            return f"{name!r} is retired. Register its source again to bring it back."
        return (
            f"There is no flow {name!r}.{_near(name, self.newest)} Flows: {_listed(self.newest)}."
        )

    def no_model(self, name: str) -> str:
        """Return the message for an unknown virtual model; it lists the known ones."""
        return f"No model named {name!r}.{_near(name, self.models)} Models: {_listed(self.models)}."


def read_catalog(engine: Engine, revision: int) -> Catalog:
    """Read the tables, except for the flows' sources, which may be large."""
    catalog = Catalog(revision)
    # Plain rows: ORM objects would take ten times as long.
    columns = [getattr(FlowRow, field.name).label(field.name) for field in fields(FlowVersion)]
    query = sqlalchemy.select(*columns).order_by(col(FlowRow.version))
    with Session(engine) as session:
        for flow in session.connection().execute(query):
            version = value_of(FlowVersion, flow)
            catalog.flows[version.name] = version
            if version.retired_at is None:
                catalog.newest[version.flow] = version
        for model in session.exec(select(VirtualModelRow).order_by(col(VirtualModelRow.version))):
            catalog.models[model.model] = value_of(ResolvedModel, model)
    for name in [name for name, model in catalog.models.items() if model.retired]:
        del catalog.models[name]
    return catalog


def value_of(kind: type[V], row: Any) -> V:
    """Return a row as a ``kind``; a column that an older program left null has its default."""
    stored = {field.name: getattr(row, field.name) for field in fields(kind)}
    return kind(**{name: value for name, value in stored.items() if value is not None})


def needs_params(version: FlowVersion, load: Callable[[str], Flow]) -> bool:
    """Return whether a version has required parameters; ``load`` returns the flow of a digest."""
    if version.needs_params is not None:
        return version.needs_params
    try:
        return load(version.digest).needs_params
    except FlowError:
        # It was stored under older rules and breaks those of today: it is not offered by its name.
        return True


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

"""The registry: flow versions and virtual models, and what a model name means right now.

Both are versioned and nothing is ever changed: registering other source makes the flow's next
version, binding a virtual model again makes the model's next version. A run carries the version it
was resolved to, so no later registration reaches it.

Every process keeps a catalog in memory and reads the tables' revision before using it, so what
another process registered counts from the next request on.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import JSON, Column, Engine, UniqueConstraint
from sqlmodel import Field, Session, SQLModel, select

from polyvox.activities.tables import UtcDateTime
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import Flow, FlowError, load_flow

DIRECT = "direct"


class FlowRow(SQLModel, table=True):
    __tablename__ = "flow_versions"
    __table_args__ = (UniqueConstraint("name", "version"), UniqueConstraint("name", "digest"))

    id: int | None = Field(default=None, primary_key=True)
    name: str
    version: int
    digest: str = Field(index=True)
    source: str
    filename: str
    message: str
    created_at: datetime = Field(sa_type=UtcDateTime)


class VirtualModelRow(SQLModel, table=True):
    __tablename__ = "virtual_models"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str
    version: int
    flow: str
    digest: str
    params: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    description: str = ""
    message: str = ""
    created_at: datetime = Field(sa_type=UtcDateTime)


class RevisionRow(SQLModel, table=True):
    __tablename__ = "registry_revision"

    id: int = Field(default=1, primary_key=True)
    revision: int = 0


TABLES = [
    SQLModel.metadata.tables[str(row.__tablename__)]
    for row in (FlowRow, VirtualModelRow, RevisionRow)
]


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """``name`` is like ``fusion@3``; ``digest`` is the address of its source."""

    flow: str
    version: int
    digest: str
    filename: str
    created_at: datetime
    message: str = ""

    @property
    def name(self) -> str:
        return f"{self.flow}@{self.version}"


@dataclass(frozen=True, slots=True)
class Binding:
    """What a model name means: a flow version and its parameters."""

    model: str
    flow: str
    digest: str
    params: Mapping[str, Json]
    description: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Catalog:
    revision: int = -1
    flows: dict[str, FlowVersion] = field(default_factory=dict)
    newest: dict[str, FlowVersion] = field(default_factory=dict)
    models: dict[str, Binding] = field(default_factory=dict)


class Registry:
    """Flow versions and virtual models in the ledger's database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._catalog = _Catalog()
        self._loaded: dict[str, Flow] = {}
        SQLModel.metadata.create_all(engine, tables=TABLES)

    def register(self, source: str, filename: str, *, message: str = "") -> FlowVersion:
        """Store ``source`` as the next version of the flow it declares.

        The same source again is the version it already is. Raises what ``load_flow`` raises.
        """
        digest = hashlib.sha256(source.encode()).hexdigest()
        loaded = load_flow(source, filename)
        with Session(self._engine) as session:
            known = session.exec(
                select(FlowRow).where(FlowRow.name == loaded.name, FlowRow.digest == digest)
            ).first()
            if known is None:
                versions = session.exec(select(FlowRow.version).where(FlowRow.name == loaded.name))
                known = FlowRow(
                    name=loaded.name,
                    version=max(versions, default=0) + 1,
                    digest=digest,
                    source=source,
                    filename=filename,
                    message=message,
                    created_at=datetime.now(UTC),
                )
                session.add(known)
                _advance(session)
                session.commit()
            return _version(known)

    def bind(
        self,
        name: str,
        flow: str,
        params: Mapping[str, Json],
        *,
        description: str = "",
        message: str = "",
    ) -> Binding:
        """Make ``name`` a virtual model of ``flow`` (``fusion`` for the newest, ``fusion@3``).

        A binding equal to the present one changes nothing. Raises FlowError for an unknown flow
        and for parameters its schema refuses, naming each.
        """
        catalog = self._current()
        version = catalog.flows.get(flow) or catalog.newest.get(flow)
        if version is None:
            known = ", ".join(sorted(catalog.newest))
            raise FlowError(
                f"Model {name!r} wants flow {flow!r}, which is unknown. Flows: {known}."
            )
        self._validate(name, version, params)
        present = catalog.models.get(name)
        binding = Binding(name, version.name, version.digest, dict(params), description)
        if present is not None and _same(present, binding):
            return present
        with Session(self._engine) as session:
            versions = session.exec(
                select(VirtualModelRow.version).where(VirtualModelRow.name == name)
            )
            session.add(
                VirtualModelRow(
                    name=name,
                    version=max(versions, default=0) + 1,
                    flow=version.name,
                    digest=version.digest,
                    params=dict(params),
                    description=description,
                    message=message,
                    created_at=datetime.now(UTC),
                )
            )
            _advance(session)
            session.commit()
        return binding

    def resolve(self, model: str, providers: Mapping[str, object]) -> Binding:
        """Return what ``model`` means: a virtual model, a flow, or ``provider:model``.

        Raises ModelError("model_not_found") naming what there is.
        """
        catalog = self._current()
        if model in catalog.models:
            return catalog.models[model]
        version = catalog.flows.get(model) or catalog.newest.get(model)
        if version is not None and not self.load(version.digest).needs_params:
            return Binding(model, version.name, version.digest, {})
        if model.partition(":")[0] in providers and model.partition(":")[2]:
            direct = catalog.newest[DIRECT]
            return Binding(model, direct.name, direct.digest, {"model": model})
        if version is not None:
            raise ModelError(
                "model_not_found",
                f"Flow {model!r} needs parameters: declare a model for it in polyvox.toml.",
                param="model",
            )
        known = ", ".join(sorted(catalog.models))
        raise ModelError(
            "model_not_found",
            f"No model named {model!r}. Models: {known}; or provider:model with one of the "
            f"providers {', '.join(sorted(providers))}.",
            param="model",
        )

    def models(self) -> list[Binding]:
        """Return every name a client can ask for without knowing a provider, sorted."""
        catalog = self._current()
        names = dict(catalog.models)
        for name, version in catalog.newest.items():
            flow = self.load(version.digest)
            if name not in names and not flow.needs_params:
                about = flow.description.partition("\n")[0]
                names[name] = Binding(
                    name, version.name, version.digest, {}, about, version.created_at
                )
        return [names[name] for name in sorted(names)]

    def flows(self) -> list[FlowVersion]:
        """Return all flow versions, by name and version."""
        return sorted(self._current().flows.values(), key=lambda v: (v.flow, v.version))

    def load(self, digest: str) -> Flow:
        """Return the flow whose source has this digest. Raises KeyError if there is none."""
        loaded = self._loaded.get(digest)
        if loaded is None:
            with Session(self._engine) as session:
                row = session.exec(select(FlowRow).where(FlowRow.digest == digest)).first()
            if row is None:
                raise KeyError(f"No flow version with digest {digest} is registered.")
            loaded = load_flow(row.source, f"{row.filename} ({row.name}@{row.version})")
            self._loaded[digest] = loaded
        return loaded

    def _validate(self, name: str, version: FlowVersion, params: Mapping[str, Json]) -> None:
        try:
            self.load(version.digest).params.model_validate(dict(params))
        except ValidationError as error:
            lines = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'params'}: {e['msg']}" for e in error.errors()
            )
            raise FlowError(
                f"Model {name!r}: flow {version.name} refuses its params: {lines}."
            ) from None

    def _current(self) -> _Catalog:
        with self._engine.connect() as connection:
            row = connection.exec_driver_sql("SELECT revision FROM registry_revision").first()
        revision = row[0] if row else 0
        if revision != self._catalog.revision:
            self._catalog = self._read(revision)
        return self._catalog

    def _read(self, revision: int) -> _Catalog:
        catalog = _Catalog(revision)
        with Session(self._engine) as session:
            for flow in session.exec(select(FlowRow).order_by(FlowRow.version)):  # type: ignore[arg-type]
                version = _version(flow)
                catalog.flows[version.name] = catalog.newest[flow.name] = version
            for row in session.exec(select(VirtualModelRow).order_by(VirtualModelRow.version)):  # type: ignore[arg-type]
                catalog.models[row.name] = Binding(
                    row.name, row.flow, row.digest, row.params, row.description, row.created_at
                )
        return catalog


def _version(row: FlowRow) -> FlowVersion:
    return FlowVersion(row.name, row.version, row.digest, row.filename, row.created_at, row.message)


def _same(one: Binding, other: Binding) -> bool:
    return (one.flow, dict(one.params), one.description) == (
        other.flow,
        dict(other.params),
        other.description,
    )


def _advance(session: Session) -> None:
    """Tell every process that the tables have changed, in the same transaction."""
    row = session.get(RevisionRow, 1) or RevisionRow()
    row.revision += 1
    session.add(row)

"""The registry: flow versions and virtual models, and the resolution of model names.

Both are versioned, and a version never changes: registering different source makes the flow's next
version, changing a virtual model makes the model's next version. A run carries the version it was
resolved to, so later registrations do not affect it, and a retired version still serves the runs
that started with it.

Every process has a catalog in memory and checks the tables' revision before using it, so a
registration by another process takes effect with the next request; with a database server, which
is asked beside the event loop, half a second later at most.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from threading import Lock
from types import MappingProxyType
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel, col, select

from polyvox.activities.registry.catalog import (
    Catalog,
    FlowVersion,
    needs_params,
    value_of,
)
from polyvox.activities.registry.current_catalog import CurrentCatalog
from polyvox.activities.registry.model_changes import mistakes_in_model, resolved, written
from polyvox.activities.registry.tables import FlowRow, VirtualModelRow, advance
from polyvox.activities.registry.virtual_models import (
    Change,
    ModelSpec,
    Plan,
    ResolvedModel,
    differences,
    mistakes_in_spec,
)
from polyvox.activities.storage.database import MetaRow, replacing
from polyvox.activities.storage.storable_json import text_mistake
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import Flow, FlowError
from polyvox.workflows.source.bundle import digest_of_source, load_bundle, unload

T = TypeVar("T")

__all__ = ["DIRECT", "FlowVersion", "Registry", "ResolvedModel"]

DIRECT = "direct"

_LOADED_FLOWS = 128
"""The number of loaded flows in memory; a running run holds its own."""

_TRIES = 5
_PROVIDERS = "providers"


class Registry:
    """Flow versions and virtual models in the ledger's database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._catalogs = CurrentCatalog(engine)
        self._loaded: OrderedDict[str, Flow] = OrderedDict()
        self._loading = Lock()

    def followed(self) -> AbstractContextManager[None]:
        """Look for the changes of other processes beside the event loop; see CurrentCatalog."""
        return self._catalogs.followed()

    def register(
        self,
        source: str,
        filename: str,
        *,
        message: str = "",
        author: str = "",
        revive: bool = True,
        models: Mapping[str, ModelSpec] = MappingProxyType({}),
        providers: Collection[str] = (),
    ) -> FlowVersion:
        """Store ``source`` as the next version of the flow it declares.

        Known source is the version it already has; if that version was retired, it is put back
        into use unless ``revive`` is False. ``models`` are set to their specs with this version, in
        the same transaction; the flow of a spec does not matter. Raises what ``load_bundle``
        raises, and FlowError for a mistake in a model; then nothing is stored.
        """
        digest = digest_of_source(source)
        catalog = self._current()
        if not models and (same := self._unchanged(catalog, digest, revive=revive)):
            return same
        loaded = load_bundle(source, filename)
        unload(loaded)
        found = [
            line
            for name, want in models.items()
            for line in mistakes_in_model(name, want, loaded.params, catalog, models, providers)
        ]
        if found:
            raise FlowError("\n".join(found))

        def write(session: Session) -> FlowVersion:
            known = session.exec(select(FlowRow).where(FlowRow.digest == digest)).first()
            if known is None:
                versions = session.exec(select(FlowRow.version).where(FlowRow.flow == loaded.name))
                known = FlowRow(
                    flow=loaded.name,
                    version=max(versions, default=0) + 1,
                    digest=digest,
                    source=source,
                    filename=filename,
                    message=message,
                    author=author,
                    description=loaded.description,
                    needs_params=loaded.needs_params,
                    created_at=datetime.now(UTC),
                )
            elif revive:
                known.retired_at = None
            session.add(known)
            session.flush()
            version = value_of(FlowVersion, known)
            new = {
                name: resolved(name, want, version, catalog.models.get(name), author, message)
                for name, want in models.items()
            }
            plan = tuple(self._planned(catalog, name, one) for name, one in new.items())
            written(session, plan, new, author, message)
            session.commit()
            return version

        return self._write(write)

    @staticmethod
    def _unchanged(catalog: Catalog, digest: str, *, revive: bool) -> FlowVersion | None:
        """Return the version with this source if registering it again changes nothing."""
        same = next((v for v in catalog.flows.values() if v.digest == digest), None)
        return same if same and (same.retired_at is None or not revive) else None

    def retire_flow(self, name: str) -> list[FlowVersion]:
        """Take ``name@3``, or all versions of ``name``, out of use for new runs.

        Runs that have started are not affected. Raises FlowError if the flow does not exist, if a
        model is bound to it, or if it is the one that serves ``provider:model``.
        """
        catalog = self._current()
        going = [v for v in catalog.flows.values() if name in (v.name, v.flow)]
        if not going:
            raise FlowError(catalog.no_flow(name))
        left = [v for v in catalog.flows.values() if v.flow == DIRECT and v not in going]
        if going[0].flow == DIRECT and not left:
            raise FlowError(f"Flow {DIRECT!r} serves provider:model and cannot be retired.")
        names = {version.name for version in going}
        users = [b.model for b in catalog.models.values() if b.flow in names]
        if users:
            raise FlowError(
                f"{name!r} is behind the models {', '.join(sorted(users))}. Set them to another "
                "flow or version, or retire them first: polyvox models set, polyvox models retire."
            )

        def write(session: Session) -> list[FlowVersion]:
            rows = session.exec(
                select(FlowRow).where(col(FlowRow.digest).in_({v.digest for v in going}))
            )
            retired = []
            for row in rows:
                if row.flow == going[0].flow:
                    row.retired_at = datetime.now(UTC)
                    session.add(row)
                    retired.append(value_of(FlowVersion, row))
            session.commit()
            return retired

        return self._write(write)

    def change(
        self,
        wanted: Mapping[str, ModelSpec | None],
        *,
        author: str = "",
        message: str = "",
        origin: str = "",
        absent_of: str = "",
        providers: Collection[str] = (),
        dry_run: bool = False,
    ) -> Plan:
        """Set models to the ``wanted`` specs, all as one change; None retires a model.

        With ``absent_of`` the models of that origin that are not in ``wanted`` are retired too.
        A model that already equals its spec keeps its version. ``providers`` are the known
        providers; if empty, any may be named. Raises FlowError that names every mistake by its
        path, and then changes nothing.
        """
        catalog = self._current()
        found = [f"message {wrong}" for wrong in [text_mistake(message)] if wrong]
        new: dict[str, ResolvedModel | None] = dict.fromkeys(
            name
            for name, binding in catalog.models.items()
            if absent_of and binding.origin == absent_of and name not in wanted
        )
        for name, want in wanted.items():
            if want is None:
                if name not in catalog.models:
                    found.append(catalog.no_model(name))
                new[name] = None
                continue
            if wrong := mistakes_in_spec(name, want):
                found += wrong
                continue
            version = catalog.flows.get(want.flow) or catalog.newest.get(want.flow)
            if version is None or version.retired_at is not None:
                found.append(f"models.{name}.flow: {catalog.no_flow(want.flow)}")
                continue
            params = self.load(version.digest).params
            found += mistakes_in_model(name, want, params, catalog, wanted, providers)
            present = catalog.models.get(name)
            new[name] = resolved(name, want, version, present, author, message, origin)
        if found:
            raise FlowError("\n".join(found))
        plan = tuple(self._planned(catalog, name, new[name]) for name in new)
        if dry_run or all(change.action == "unchanged" for change in plan):
            return plan

        def write(session: Session) -> Plan:
            changed = written(session, plan, new, author, message)
            session.commit()
            return changed

        return self._write(write)

    def _planned(self, catalog: Catalog, name: str, new: ResolvedModel | None) -> Change:
        present = catalog.models.get(name)
        if new is None:
            assert present is not None
            return Change(name, "retired", present.version + 1, present.flow)
        if present is None:
            last = max((b.version for b in self.history(name)), default=0)
            return Change(name, "created", last + 1, new.flow)
        changed = differences(present.document(), new.document())
        if not changed and present.origin == new.origin:
            return Change(name, "unchanged", present.version, present.flow)
        return Change(name, "changed", present.version + 1, new.flow, changed)

    def resolve(self, model: str, providers: Mapping[str, object]) -> ResolvedModel:
        """Resolve ``model``: a virtual model, a flow, or ``provider:model``.

        Raises ModelError("model_not_found") that lists the known names.
        """
        catalog = self._current()
        if model in catalog.models:
            return catalog.models[model]
        version = catalog.flows.get(model) or catalog.newest.get(model)
        if version is not None and version.retired_at is not None:
            version = None
        if version is not None and not needs_params(version, self.load):
            return ResolvedModel(model, version.name, version.digest, {})
        if model.partition(":")[0] in providers and model.partition(":")[2]:
            direct = catalog.newest[DIRECT]
            return ResolvedModel(model, direct.name, direct.digest, {"model": model})
        if version is not None:
            raise ModelError(
                "model_not_found",
                f"Flow {model!r} needs parameters: declare a model for it in polyvox.toml.",
                param="model",
            )
        raise ModelError(
            "model_not_found",
            f"{catalog.no_model(model)} Or provider:model with one of the providers "
            f"{', '.join(sorted(providers))}.",
            param="model",
        )

    def models(self) -> list[ResolvedModel]:
        """Return every name a client can request except ``provider:model``, sorted."""
        catalog = self._current()
        names = dict(catalog.models)
        for name, version in catalog.newest.items():
            if name not in names and not needs_params(version, self.load):
                about = version.description.partition("\n")[0]
                names[name] = ResolvedModel(
                    name, version.name, version.digest, {}, about, version.created_at
                )
        return [names[name] for name in sorted(names)]

    def virtual_models(self) -> list[ResolvedModel]:
        """Return the virtual models in use, sorted by name."""
        catalog = self._current()
        return [catalog.models[name] for name in sorted(catalog.models)]

    def virtual_model(self, name: str) -> ResolvedModel:
        """Return a virtual model in use. Raises FlowError."""
        catalog = self._current()
        if name not in catalog.models:
            raise FlowError(catalog.no_model(name))
        return catalog.models[name]

    def left_behind(self, flow: str) -> list[ResolvedModel]:
        """Return the virtual models that are bound to an older version of ``flow``, by name."""
        newest = self.flow(flow)
        return [
            model
            for model in self.virtual_models()
            if model.flow.partition("@")[0] == newest.flow and model.flow != newest.name
        ]

    def history(self, model: str) -> list[ResolvedModel]:
        """Return all versions of a virtual model, oldest first; none if it never existed."""
        rows = select(VirtualModelRow).where(VirtualModelRow.model == model)
        with Session(self._engine) as session:
            found = session.exec(rows.order_by(col(VirtualModelRow.version))).all()
            return [value_of(ResolvedModel, row) for row in found]

    def flows(self) -> list[FlowVersion]:
        """Return all flow versions, retired ones too, by name and version."""
        return sorted(self._current().flows.values(), key=lambda v: (v.flow, v.version))

    def flow(self, name: str) -> FlowVersion:
        """Return ``fusion@3``, or the newest version of ``fusion``. Raises FlowError."""
        catalog = self._current()
        version = catalog.flows.get(name) or catalog.newest.get(name)
        if version is None:
            retired = [v for v in catalog.flows.values() if v.flow == name]
            if not retired:
                raise FlowError(catalog.no_flow(name))
            version = max(retired, key=lambda v: v.version)
        return version

    def know_providers(self, names: Collection[str]) -> None:
        """Store the running server's providers, for commands that check models' names."""

        row = {"name": _PROVIDERS, "value": " ".join(sorted(names))}
        with self._engine.begin() as connection:
            table = SQLModel.metadata.tables["meta"]
            connection.execute(replacing(self._engine, table, [row]))

    def known_providers(self) -> list[str]:
        """Return the providers of the server that ran last; none if no server has run."""
        with Session(self._engine) as session:
            row = session.get(MetaRow, _PROVIDERS)
        return row.value.split() if row is not None else []

    def source(self, digest: str) -> str:
        """Return a version's stored text; see ``bundle.unpack``. Raises KeyError."""
        return self._row(digest).source

    def load(self, digest: str) -> Flow:
        """Return the flow whose source has this digest. Raises KeyError if there is none."""
        with self._loading:
            if digest not in self._loaded:
                row = self._row(digest)
                label = f"{row.flow}@{row.version}"
                self._loaded[digest] = load_bundle(row.source, row.filename, label)
                if len(self._loaded) > _LOADED_FLOWS:
                    unload(self._loaded.popitem(last=False)[1])
            self._loaded.move_to_end(digest)
            return self._loaded[digest]

    def _row(self, digest: str) -> FlowRow:
        with Session(self._engine) as session:
            row = session.exec(select(FlowRow).where(FlowRow.digest == digest)).first()
        if row is None:
            raise KeyError(f"No flow version with digest {digest} is registered.")
        return row

    def _write(self, write: Callable[[Session], T]) -> T:
        """Run ``write`` in a transaction that advances the revision.

        One process after the other does: each waits for the row of the revision. It is repeated if
        another process still took its version number.
        """
        for tried in range(1, _TRIES + 1):
            with Session(self._engine) as session:
                try:
                    advance(session)
                    written = write(session)
                except IntegrityError:
                    if tried == _TRIES:
                        raise
                else:
                    self._catalogs.refreshed()
                    return written
        raise AssertionError("unreachable")

    def _current(self) -> Catalog:
        return self._catalogs.get()

"""Changes of virtual models: their mistakes, their new state, and their rows."""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from polyvox.activities.registry.catalog import Catalog, FlowVersion, value_of
from polyvox.activities.registry.parameters import SIDE, mistakes
from polyvox.activities.registry.tables import VirtualModelRow
from polyvox.activities.registry.virtual_models import (
    Change,
    ModelSpec,
    Plan,
    ResolvedModel,
    mistakes_in_spec,
)
from polyvox.workflows.flow import Params


def mistakes_in_model(
    name: str,
    want: ModelSpec,
    kind: type[Params],
    catalog: Catalog,
    wanted: Collection[str],
    providers: Collection[str],
) -> list[str]:
    """Return the mistakes in a model whose flow has parameters of ``kind``, each with its path.

    ``wanted`` are the models of the same change. ``providers`` are the known providers; if empty,
    any may be named.
    """
    if found := mistakes_in_spec(name, want):
        return found
    found = [
        f"models.{name}.{line}"
        for line in mistakes(kind, want.params, want.limits, want.card, providers)
    ]
    side = want.params.get(SIDE)
    if isinstance(side, str) and ":" not in side and side not in {*catalog.models, *wanted}:
        found.append(f"models.{name}.params.{SIDE}: {catalog.no_model(side)}")
    return found


def resolved(
    name: str,
    want: ModelSpec,
    version: FlowVersion,
    present: ResolvedModel | None,
    author: str,
    message: str,
    origin: str = "",
) -> ResolvedModel:
    """Return the model with the values of ``want`` and this version of its flow."""
    return ResolvedModel(
        name,
        version.name,
        version.digest,
        dict(want.params),
        want.description,
        limits=dict(want.limits),
        card=dict(want.card),
        author=author,
        message=message,
        origin=origin or (present.origin if present else ""),
    )


def written(
    session: Session,
    plan: Plan,
    new: Mapping[str, ResolvedModel | None],
    author: str,
    message: str,
) -> Plan:
    """Add the versions of a plan, numbered after those in the table; return the plan."""
    changes: list[Change] = []
    for change in plan:
        if change.action == "unchanged":
            changes.append(change)
            continue
        rows = select(VirtualModelRow).where(VirtualModelRow.model == change.model)
        last = session.exec(rows.order_by(col(VirtualModelRow.version).desc())).first()
        number = last.version + 1 if last else 1
        wanted = new[change.model]
        stored = wanted if wanted is not None or last is None else value_of(ResolvedModel, last)
        assert stored is not None
        stored = replace(
            stored,
            version=number,
            message=message,
            author=author,
            retired=wanted is None,
            created_at=datetime.now(UTC),
        )
        session.add(VirtualModelRow(**{f.name: getattr(stored, f.name) for f in fields(stored)}))
        changes.append(replace(change, version=number))
    return tuple(changes)

"""Flows and virtual models as JSON documents, the same from the API and from the command line."""

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from polyvox.activities.registry.catalog import FlowVersion
from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import (
    Change,
    Difference,
    ResolvedModel,
    differences,
)
from polyvox.gateway.api.document import Document
from polyvox.gateway.api.model_edits import earlier
from polyvox.workflows.source.bundle import unpack


class FlowDocument(Document):
    """A flow version without its source and schema; ``name`` is like ``careful@2``."""

    name: str
    flow: str
    version: int
    digest: str
    filename: str
    description: str
    message: str
    author: str
    created_at: datetime
    retired_at: datetime | None


class WholeFlowDocument(FlowDocument):
    """A flow version with its files, the JSON Schema of its parameters and who uses it.

    ``versions`` are the names of all versions of the flow.
    """

    params: dict[str, Any]
    files: dict[str, str]
    models: list[str]
    versions: list[str]


class LeftBehind(Document):
    """A virtual model that stays on an older version of a flow."""

    model: str
    flow: str


class RegisteredFlowDocument(FlowDocument):
    """A flow version that was registered, what may be wrong with it, and who does not use it."""

    doubts: list[str]
    left_behind: list[LeftBehind]


class FlowList(Document):
    flows: list[FlowDocument]


class RetiredFlows(Document):
    retired: list[FlowDocument]


class SourceDiff(Document):
    """The unified diff of two flow versions' files; empty if they are the same."""

    before: str
    after: str
    diff: str


class ModelDocument(Document):
    """One version of a virtual model; ``origin`` is ``file`` if ``polyvox.toml`` declares it."""

    model: str
    version: int
    flow: str
    description: str
    params: dict[str, Any]
    limits: dict[str, Any]
    card: dict[str, Any]
    author: str
    message: str
    origin: str
    created_at: datetime | None
    retired: bool


class ModelList(Document):
    models: list[ModelDocument]


class ModelHistory(Document):
    """All versions of a virtual model, newest first."""

    history: list[ModelDocument]


class ModelDiff(Document):
    """What differs between two versions of a virtual model."""

    before: int
    after: int
    differences: list[Difference]


class PlanDocument(Document):
    """What a change does to each model that it names."""

    plan: list[Change]


class AppliedPlan(PlanDocument):
    """``dry_run`` if nothing was changed."""

    dry_run: bool


def render_registered(
    registry: Registry, version: FlowVersion, doubts: Sequence[str]
) -> RegisteredFlowDocument:
    """Render a flow version that has just been registered."""
    return RegisteredFlowDocument(
        **FlowDocument.model_validate(version).model_dump(),
        doubts=list(doubts),
        left_behind=[
            LeftBehind(model=model.model, flow=model.flow)
            for model in registry.left_behind(version.flow)
        ],
    )


def render_whole_flow(registry: Registry, version: FlowVersion) -> WholeFlowDocument:
    """Render a flow version with all that is known of it."""
    loaded = registry.load(version.digest)
    return WholeFlowDocument(
        **{
            **FlowDocument.model_validate(version).model_dump(),
            "description": loaded.description,
            "params": loaded.params.model_json_schema(),
            "files": unpack(registry.source(version.digest), version.filename),
            "models": [b.model for b in registry.virtual_models() if b.flow == version.name],
            "versions": [v.name for v in registry.flows() if v.flow == version.flow],
        }
    )


def source_diff(registry: Registry, before: FlowVersion, after: FlowVersion) -> SourceDiff:
    """Return the diff of two versions' files."""
    old = unpack(registry.source(before.digest), before.filename)
    new = unpack(registry.source(after.digest), after.filename)
    lines: list[str] = []
    for path in sorted({*old, *new}):
        lines += difflib.unified_diff(
            old.get(path, "").splitlines(),
            new.get(path, "").splitlines(),
            f"{before.name}/{path}" if path in old else "/dev/null",
            f"{after.name}/{path}" if path in new else "/dev/null",
            lineterm="",
        )
    return SourceDiff(before=before.name, after=after.name, diff="\n".join(lines))


def model_diff(
    name: str, history: Sequence[ResolvedModel], before: int | None, after: int | None
) -> ModelDiff:
    """Return what differs between two versions, by default the last two. Raises FlowError."""
    last = after if after is not None else len(history)
    first = before if before is not None else max(1, last - 1)
    one, other = (earlier(name, history, number) for number in (first, last))
    changed = differences(one.document(), other.document())
    return ModelDiff(before=one.version, after=other.version, differences=list(changed))

"""Flows and virtual models as JSON documents, the same from the API and from the command line."""

import difflib
from typing import Any

from polyvox.activities.registry.catalog import FlowVersion
from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import ResolvedModel
from polyvox.workflows.source.bundle import unpack

Document = dict[str, Any]


def render_flow(version: FlowVersion) -> Document:
    """Render a flow version without its source and schema."""
    return {
        "name": version.name,
        "flow": version.flow,
        "version": version.version,
        "digest": version.digest,
        "filename": version.filename,
        "description": version.description,
        "message": version.message,
        "author": version.author,
        "created_at": version.created_at.isoformat().replace("+00:00", "Z"),
        "retired_at": version.retired_at.isoformat().replace("+00:00", "Z")
        if version.retired_at
        else None,
    }


def render_whole_flow(registry: Registry, version: FlowVersion) -> Document:
    """Render a flow version with its files, the JSON Schema of its parameters and who uses it.

    ``versions`` are the names of all versions of the flow.
    """
    loaded = registry.load(version.digest)
    return {
        **render_flow(version),
        "description": loaded.description,
        "params": loaded.params.model_json_schema(),
        "files": unpack(registry.source(version.digest), version.filename),
        "models": [b.model for b in registry.virtual_models() if b.flow == version.name],
        "versions": [v.name for v in registry.flows() if v.flow == version.flow],
    }


def render_model(binding: ResolvedModel) -> Document:
    """Render one version of a virtual model."""
    return {
        "model": binding.model,
        "version": binding.version,
        **binding.document(),
        "author": binding.author,
        "message": binding.message,
        "origin": binding.origin,
        "created_at": binding.created_at.isoformat().replace("+00:00", "Z")
        if binding.created_at
        else None,
        "retired": binding.retired,
    }


def source_diff(registry: Registry, before: FlowVersion, after: FlowVersion) -> str:
    """Return the unified diff of two versions' files; empty if they are the same."""
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
    return "\n".join(lines)

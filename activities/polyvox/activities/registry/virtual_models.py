"""Virtual models as values: what is wanted of one, what it is, and what differs between two.

A change of several models is a Plan first: it says for each of them what would happen, and the
registry then writes all of it as one change, or nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from polyvox.activities.registry.model_card import Card
from polyvox.activities.storage.storable_json import unstorable
from polyvox.workflows.boundary.calls import Limits
from polyvox.workflows.conversation import Json

Action = Literal["created", "changed", "unchanged", "retired"]

FROM_FILE = "file"
"""The origin of models that ``polyvox.toml`` declares: what is taken out of it is retired."""


LONGEST_NAME = 200

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model shall be. ``flow`` is a flow's newest version, or ``fusion@3`` that one."""

    flow: str
    params: Mapping[str, Json] = field(default_factory=dict)
    description: str = ""
    limits: Mapping[str, Json] = field(default_factory=dict)
    card: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What a model name means: a flow version and its parameters.

    ``limits`` are those that were set; ``run_limits`` has the defaults of the others. ``card`` is
    what was said of the model; ``told`` has the rest as unknown.
    """

    model: str
    flow: str
    digest: str
    params: Mapping[str, Json]
    description: str = ""
    created_at: datetime | None = None
    limits: Mapping[str, Json] = field(default_factory=dict)
    version: int = 0
    author: str = ""
    message: str = ""
    origin: str = ""
    retired: bool = False
    card: Mapping[str, Json] = field(default_factory=dict)

    @property
    def run_limits(self) -> Limits:
        return Limits(**self.limits)

    @property
    def told(self) -> Card:
        return Card(**self.card)

    def document(self) -> dict[str, Json]:
        """Return what of it can be set, as a JSON document."""
        return {
            "flow": self.flow,
            "description": self.description,
            "params": dict(self.params),
            "limits": dict(self.limits),
            "card": dict(self.card),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """One place in two documents; a value that is not there is None and said to be absent."""

    path: str
    before: Json
    after: Json
    kind: Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one model; ``version`` is the one it has afterwards."""

    model: str
    action: Action
    version: int
    flow: str
    differences: tuple[Difference, ...] = ()


Plan = tuple[Change, ...]


def name_mistake(name: str) -> str:
    """Return what is wrong with a model's name; empty if nothing is."""
    if len(name) > LONGEST_NAME:
        return f"a model's name has at most {LONGEST_NAME} characters"
    if _NAME.fullmatch(name):
        return ""
    return (
        "a model's name consists of letters, digits and . _ / - and begins with a letter or a "
        "digit; a colon would read as provider:model"
    )


def mistakes_wanted(name: str, wanted: ModelSpec) -> list[str]:
    """Say what is wrong with a model whatever its flow is: its name, and values nobody can keep."""
    if mistake := name_mistake(name):
        return [f"models.{name[:LONGEST_NAME]}: {mistake}."]
    return [f"models.{name}.{wrong}" for wrong in unstorable(asdict(wanted))]


def differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[Difference, ...]:
    """Return where two documents differ, by path, in the order of the paths."""
    return tuple(_walk("", dict(before), dict(after)))


def documents(plan: Plan) -> list[dict[str, Any]]:
    """Return a plan as JSON."""
    return [asdict(change) for change in plan]


def _walk(path: str, before: Json, after: Json) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            inner = f"{path}.{name}" if path else name
            if name not in before:
                yield Difference(inner, None, after[name], "added")
            elif name not in after:
                yield Difference(inner, before[name], None, "removed")
            else:
                yield from _walk(inner, before[name], after[name])
    elif before != after:
        yield Difference(path, before, after, "changed")

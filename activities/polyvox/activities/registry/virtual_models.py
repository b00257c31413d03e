"""Virtual models as values: the spec of one, the resolved model, and the differences of two.

A change of several models is a Plan first, which lists what happens to each of them; the registry
then writes all of it as one change, or nothing.
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
"""The origin of models declared in ``polyvox.toml``: a model removed from it is retired."""


LONGEST_NAME = 200

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The requested state of a model. ``flow`` is ``fusion@3``, or ``fusion`` for the newest."""

    flow: str
    params: Mapping[str, Json] = field(default_factory=dict)
    description: str = ""
    limits: Mapping[str, Json] = field(default_factory=dict)
    card: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A flow version and its parameters, which a model name stands for.

    The fields are the columns of a VirtualModelRow. ``limits`` are those that were set;
    ``run_limits`` has the defaults of the others. ``card`` has the members that were set;
    ``parsed_card`` has None for the others.
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
    def parsed_card(self) -> Card:
        return Card(**self.card)

    def document(self) -> dict[str, Json]:
        """Return the members that can be set, as a JSON document."""
        return {
            "flow": self.flow,
            "description": self.description,
            "params": dict(self.params),
            "limits": dict(self.limits),
            "card": dict(self.card),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A path at which two documents differ; an absent value is None, and ``kind`` tells which."""

    path: str
    before: Json
    after: Json
    kind: Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one model; ``version`` is its version afterwards."""

    model: str
    action: Action
    version: int
    flow: str
    differences: tuple[Difference, ...] = ()


Plan = tuple[Change, ...]


def name_mistake(name: str) -> str:
    """Return why a model's name is invalid; empty if it is valid."""
    if len(name) > LONGEST_NAME:
        return f"a model's name has at most {LONGEST_NAME} characters"
    if _NAME.fullmatch(name):
        return ""
    return (
        "a model's name consists of letters, digits and . _ / - and begins with a letter or a "
        "digit; a colon would read as provider:model"
    )


def mistakes_in_spec(name: str, wanted: ModelSpec) -> list[str]:
    """Return the mistakes that do not depend on the flow: in the name, and unstorable values."""
    if mistake := name_mistake(name):
        return [f"models.{name[:LONGEST_NAME]}: {mistake}."]
    return [f"models.{name}.{wrong}" for wrong in unstorable(asdict(wanted))]


def differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[Difference, ...]:
    """Return the differences between two documents, in the order of their paths."""
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

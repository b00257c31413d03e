"""What flows may do: the border around them is not in the way of ordinary Python."""

import pytest

from polyvox.workflows.flow import load_flow

FLOW = """\
{top}
from polyvox.workflows import Params, Reply, Run, flow


class P(Params):
    word: str = "x"


@flow
async def usual(run: Run[P]) -> Reply:
    return Reply()
"""

USUAL = {
    "texts that are values and no types": """\
from typing import Annotated, Literal
from polyvox.workflows import Params
class Chosen(Params):
    mode: Literal["type", "eval", "__class__"] = "eval"
    noted: Annotated[str, "__import__(1)"] = ""
assert Chosen(mode="type").mode == "type"
""",
    "a date is read": """\
from datetime import datetime
assert datetime.strptime("2020-01-02", "%Y-%m-%d").day == 2
""",
    "an enumeration": """\
import enum
class E(enum.Enum):
    A = 1
assert E.A.value == 1 and list(E.__members__) == ["A"]
""",
    "a frozen dataclass sets itself up": """\
from dataclasses import dataclass, field, replace
@dataclass(frozen=True)
class D:
    a: int
    b: list[str] = field(default_factory=list)
    def __post_init__(self):
        object.__setattr__(self, "a", self.a + 1)
assert D(1).a == 2 and replace(D(1), b=["x"]).b == ["x"]
""",
    "a named tuple": """\
from typing import NamedTuple
class N(NamedTuple):
    a: int
    b: "str" = "x"
assert N(1)._replace(a=2)._asdict() == {"a": 2, "b": "x"}
""",
    "private attributes of its own": """\
class C:
    def __init__(self):
        super().__init__()
        self._x = 1
        self.__y = 2
    def get(self):
        self.__y += 1
        return self._x + self.__y
assert C().get() == 4
""",
    "format": """\
assert "{0} {1[k]} {n:.2f} {o.real}".format(1, {"k": 3}, n=2.0, o=5) == "1 3 2.00 5"
assert "{a}".format_map({"a": 1}) == "1"
""",
    "a str with a format of its own": """\
class S(str):
    def format(self, x):
        return "own" + x
assert S("a").format("b") == "ownb"
""",
    "type": """\
class D:
    pass
assert type(D()) is D and type(D()).__name__ == "D" and isinstance(D, type)
assert type(D) is type and type(1) is int
""",
    "a decorator": """\
import functools
def loud(f):
    @functools.wraps(f)
    def g():
        return f().upper()
    g.kept = 1
    return g
@loud
def word():
    return "x"
assert word() == "X" and word.__name__ == "word"
""",
    "an error's cause": """\
try:
    raise ValueError("x") from KeyError("y")
except ValueError as error:
    assert isinstance(error.__cause__, KeyError)
    error.note = "kept"
""",
    "a class pattern": """\
from dataclasses import dataclass
@dataclass
class D:
    a: int
match D(5):
    case D(a=found):
        assert found == 5
""",
    "a validated model": """\
from pydantic import BaseModel, Field, field_validator
class M(BaseModel):
    w: "list[int]" = Field(default_factory=list)
    @field_validator("w")
    @classmethod
    def check(cls, value):
        return [*value, 1]
assert M.model_validate({"w": [2]}).w == [2, 1]
""",
    "a generic model": """\
from typing import Generic, TypeVar
from pydantic import BaseModel
T = TypeVar("T")
class G(BaseModel, Generic[T]):
    v: T
assert G[int](v=1).v == 1
""",
    "a model that names itself": """\
from pydantic import BaseModel
class Tree(BaseModel):
    below: "list[Tree]" = []
assert Tree(below=[{"below": []}]).below[0].below == []
""",
    "copy": """\
import copy
assert copy.deepcopy({"a": [1]}) == {"a": [1]}
""",
    "getattr": """\
class D:
    a = 1
assert getattr(D, "a") == 1 and getattr(D, "b", 2) == 2 and not hasattr(D, "b")
d = D()
setattr(d, "b", 3)
delattr(d, "b")
""",
}


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
@pytest.mark.parametrize("top", USUAL.values(), ids=USUAL)
def test_ordinary_python_works_in_a_flow(top: str, future: str) -> None:
    """Also with annotations that are only resolved when they are needed."""
    assert load_flow(FLOW.replace("{top}", future + top), "usual.py").name == "usual"

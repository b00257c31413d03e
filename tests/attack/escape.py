"""A flow that tries to reach the server's environment, and building blocks of such flows.

Each is Python that finds ``os`` or its ``environ`` and puts a secret of the environment into the
answer. ``top`` is code at the top of the module, ``body`` code in the flow, ``found`` its result.
"""

from dataclasses import dataclass

CANARY = "POLYVOX_ESCAPE_CANARY"

SOURCE = """\
from polyvox.workflows import Params, Reply, Run, Text, flow
{top}


class Nothing(Params):
    pass


@flow
async def escape(run: Run[Nothing]) -> Reply:
    found = ""
{body}
    return Reply((Text(str(found)),))
"""

READ = f'.environ["{CANARY}"]'
OS_OF = f"""\
def canary(names):
    sys = names.get("sys") or names["__builtins__"]["__import__"]("sys")
    return sys.modules["os"]{READ}
"""
SUBCLASSES = (
    """\
for cls in {base}.__subclasses__():
    init = cls.__init__
    if hasattr(init, "__globals__") and "sys" in init.__globals__:
        found = init.__globals__["sys"].modules["os"]"""
    + READ
)


ATTRIBUTES = f"""\
from typing import Any
from pydantic import AliasPath, BaseModel, ConfigDict, Field
{OS_OF}
class Named(BaseModel):
    one: Any = Field(validation_alias=AliasPath('ask', '__func__', '__glo' + 'bals__'))
"""
EVERYBODY = (
    "import abc\n"
    + OS_OF
    + "Any_ = {}('Any_', (abc.ABC,), {{'__match_args__': ('__glo' + 'bals__',)}})\n"
    "Any_.register(type(flow))\n"
)
MATCHED = "match flow:\n    case Any_(names):\n        found = canary(names)"
IMPORTS_OS = "(KEPT.append(__imp' + 'ort__(\"os\")), int)[1]"
SPOKEN = "{0.__globals__[inspect].os.environ[" + CANARY + "]}"


@dataclass(frozen=True, slots=True)
class Escape:
    """One way out."""

    name: str
    top: str
    body: str

    @property
    def source(self) -> str:
        lines = "".join(f"    {line}\n" for line in self.body.splitlines())
        return SOURCE.format(top=self.top, body=lines.rstrip("\n"))

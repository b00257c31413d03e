"""Flows of several files, stored as one text."""

import pytest

from polyvox.workflows.flow import FlowError
from polyvox.workflows.source.bundle import digest_of_source, load_bundle, pack, unpack

FLOW = """\
from polyvox.workflows import Params, Reply, Run, Text, flow
{imports}


class P(Params):
    word: str = {word}


@flow
async def told(run: Run[P]) -> Reply:
    return Reply((Text(run.params.word),))
"""


def flow(imports: str, word: str) -> str:
    return FLOW.format(imports=imports, word=word)


def default(files: dict[str, str]) -> str:
    """Return the default of the flow's parameter."""
    word: str = load_bundle(pack(files), "folder").params().word  # type: ignore[attr-defined]
    return word


def test_the_same_files_have_the_same_address() -> None:
    """Whatever their order; any other byte makes another one."""
    one = pack({"a.py": "x = 1", "b.md": "b"})
    assert one == pack({"b.md": "b", "a.py": "x = 1"})
    assert unpack(one, "folder") == {"a.py": "x = 1", "b.md": "b"}
    assert digest_of_source(one) != digest_of_source(pack({"a.py": "x = 2", "b.md": "b"}))


def test_modules_are_loaded_before_those_that_import_them() -> None:
    """By name, by module, from a folder below and from the one above."""
    assert default({"flow.py": flow("from .z import WORD", "WORD"), "z.py": "WORD = 'z'"}) == "z"
    assert default({"flow.py": flow("from . import z", "z.WORD"), "z.py": "WORD = 'm'"}) == "m"
    below = {"texts/words.py": "from ..top import WORD", "top.py": "WORD = 'top'"}
    assert default({"flow.py": flow("from .texts.words import WORD", "WORD"), **below}) == "top"
    init = {"__init__.py": "WORD = 'init'", "flow.py": flow("from . import WORD", "WORD")}
    assert default(init) == "init"


def test_texts_of_a_folder_are_read_as_package_data() -> None:
    """The standard library's way, below any module's package."""
    reads = "from importlib.resources import files\nWORD = files(__package__).joinpath('{}')"
    top = reads.format("deep/word.md") + ".read_text('utf-8')"
    assert default({"flow.py": flow(top, "WORD"), "deep/word.md": "dêep"}) == "dêep"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.py": "from . import b", "b.py": "from . import a"}, "import each other: a -> b -> a"),
        ({"a.py": "x = 1"}, "found: none"),
        ({"a.py": flow("", "''"), "b.py": flow("", "''").replace("told", "other")}, "other, told"),
    ],
)
def test_what_is_no_flow_is_refused(files: dict[str, str], says: str) -> None:
    """One flow in all modules together, and no circles."""
    with pytest.raises(FlowError) as caught:
        load_bundle(pack(files), "folder")
    assert says in str(caught.value)

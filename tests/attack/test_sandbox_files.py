"""Files from models or clients that cannot be written."""

import asyncio

import pytest

from polyvox.activities.tools.bubblewrap import check_code
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError
from tests.programs.optional_parts import sandboxed

pytestmark = sandboxed


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"a": "1", "a/b": "2"}, "'a/b'"),
        ({"a/b/c": "1", "a": "2"}, "'a/b/c'"),
        ({"a/": "1"}, "'a/'"),
        ({".": "1"}, "'.'"),
        ({"": "1"}, "''"),
        ({"/": "1"}, "'/'"),
        ({"a//b": "1", "a/b": "2"}, "'a/b'"),
        ({"./a": "1", "a": "2"}, "'a'"),
        ({"a\0b": "1"}, r"'a\x00b'"),
        ({"a\nb": "1"}, r"'a\nb'"),
        ({"\ud800": "1"}, r"'\ud800'"),
        ({"a.txt": "\ud800"}, "'a.txt'"),
        ({"n" * 300: "1"}, "'nnn"),
        ({"n/" * 900 + "n": "1"}, "'n/n"),
        ({"../a": "1"}, "'../a'"),
        ({"a/../../b": "1"}, "'a/../../b'"),
    ],
)
def test_a_path_that_cannot_be_written_is_named(files: dict[str, str], named: str) -> None:
    """The message names them, before anything is run."""
    with pytest.raises(ModelError) as refused:
        asyncio.run(check_code({"files": files, "commands": ["true"]}, Conversation(())))
    assert refused.value.kind == "unprocessable"
    assert refused.value.message.startswith(f"The file {named}")
    assert len(refused.value.message) < 400
    refused.value.message.encode()


def test_files_that_can_be_written_are() -> None:
    """Also nested or dotted names, other scripts, and line ends of other systems."""
    files = {"a/b/c.py": "x", ".hidden": "y", "schön/日本.txt": "é\r\n", "a.b/c": ""}
    command = "find . -type f | sort; od -c schön/日本.txt | head -1"
    params = {"files": files, "commands": [command]}
    (done,) = asyncio.run(check_code(params, Conversation(())))
    assert done["output"].split()[:4] == ["./.hidden", "./a.b/c", "./a/b/c.py", "./schön/日本.txt"]
    assert "\\r  \\n" in done["output"]

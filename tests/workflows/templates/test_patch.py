"""What ``patch`` hands over, on scripted coders: no sandbox, no server."""

import re
import subprocess
from importlib.resources import files
from pathlib import Path

from polyvox.workflows.source.bundle import load_bundle
from polyvox.workflows.testing import Rehearsal

SOURCE = files("polyvox.workflows.templates").joinpath("patch.py").read_text("utf-8")
PATCH = load_bundle(SOURCE, "patch.py")

ASKED = "Greet in French.\n```python src/greet.py\ndef greet():\n    return 'hello'\n```"
BROKEN = "```python src/greet.py\ndef greet(:\n```"
CODE = "def greet():\n    return 'salut'\n"
MENDED = f"```python src/greet.py\n{CODE}```\n```text notes.txt\nIt greets.\n```"


def test_a_diff_is_one_that_git_applies(tmp_path: Path) -> None:
    """A changed file and a new one."""
    played = Rehearsal({"x:coder": MENDED}).play(PATCH, ASKED, coder="x:coder", output="diff")
    (diff,) = re.findall(r"^```diff\n(.*?)^```", played.text, re.M | re.S)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/greet.py").write_text("def greet():\n    return 'hello'\n")
    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "src/greet.py").read_text() == CODE
    assert (tmp_path / "notes.txt").read_text() == "It greets.\n"


def test_what_does_not_parse_is_mended_without_running_anything() -> None:
    """Path and line go to the coder."""
    rehearsal = Rehearsal({"x:coder": [BROKEN, MENDED]})
    played = rehearsal.play(PATCH, ASKED, coder="x:coder", progress=True)
    assert "src/greet.py:1: " in played.asked("repair").messages[-1].text
    assert "salut" in played.text
    assert [note["passed"] for note in played.notes] == [False, True]

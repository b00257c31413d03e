"""Execute docs/first_flow.md step by step on a running server."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyvox.worker.engine.ports import free_port
from tests.programs.commands import refused, told, told_json
from tests.programs.running import ENVIRON, Live, live_program

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "first_flow.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.S | re.M)

(CODE,) = [text for kind, text in BLOCKS if kind == "python"]
TYPED = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
REGISTERED, MISTAKE, _, TREE, CHANGED = [text for kind, text in BLOCKS if kind == "text"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder = tmp_path_factory.mktemp("first_flow")
    with live_program(folder, f"http://127.0.0.1:{free_port()}/v1", environ) as running:
        yield running


def words(beginning: str, **instead: str) -> list[str]:
    """Return the words after ``polyvox`` of the page's command that begins with ``beginning``."""
    (line,) = [line for line in TYPED if line.startswith(f"polyvox {beginning}")]
    return [instead.get(word, word) for word in shlex.split(line)[1:]]


def shape(tree: str) -> list[str]:
    """Return the lines about run and calls, without the parts that differ between runs."""
    bare = re.sub(r"run_\w+|\d[\d,]*(?= ms)|(?<=tokens in ).*", "", tree)
    return [line.replace("├", "└") for line in bare.splitlines() if "not carried" not in line]


def test_the_page_holds_step_by_step(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's commands print the page's output, and the flow behaves as described."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "two_heads.py"

    file.write_text(CODE.replace("await ", "", 1), "utf-8")
    assert refused(live, *words("register")) == MISTAKE
    file.write_text(CODE, "utf-8")
    assert told(live, *words("register")) == REGISTERED

    asked = {"model": "two-heads", "messages": [{"role": "user", "content": "What is 17 + 25?"}]}
    answer = live.post("chat", asked)
    assert "17 + 25 = 42." in answer.json()["choices"][0]["message"]["content"]
    run_id = answer.headers["x-polyvox-run"]
    assert len(live.ended(run_id, 2)["calls"]) == 2
    assert run_id in told(live, *words("runs list"))
    shown = told(live, *words("runs show", ID=run_id)).splitlines()
    assert shape("\n".join(shown[:-1])) == shape(TREE)

    file.write_text(CODE.replace("says", "doubts"), "utf-8")
    assert told(live, *words("register")) == CHANGED
    assert '+    conversation = run.conversation.instructed(f"A colleague doubts:' in told(
        live, *words("flows diff")
    )
    told(live, *words("models rollback"))
    bound = {model["model"]: model["flow"] for model in told_json(live, "models", "list")}
    assert bound["two-heads"] == "two_heads@1"


def test_the_line_for_claude_code_is_the_one_that_up_prints() -> None:
    """Only the model's name differs from the line in the README, which is compared with `up`."""
    (line,) = [line for line in TYPED if "claude --model" in line]
    assert line.replace("two-heads", "simulated-fusion") in (ROOT / "README.md").read_text("utf-8")

"""What is found of a flow before it is registered, and how it is told."""

from importlib.resources import files
from pathlib import Path

import pytest

from polyvox.worker.registering.registration import Candidate, examine, read_source
from polyvox.worker.settings.shipped_templates import TEMPLATES
from polyvox.workflows.flow import FlowError

HEAD = """\
import asyncio

from polyvox.workflows import Conversation, Model, MountedTool, Params, Reply, Run, flow
from polyvox.workflows import Text, Tool, user


class P(Params):
    model: Model = "simulator:main"


def say(word: str) -> Conversation:
    return Conversation((user(word),))


@flow
async def tried(run: Run[P]) -> Reply:
"""
LINE = HEAD.count("\n") + 1
ASK = 'await run.ask(run.params.model, step="{}"{})'
PROVIDERS = ["simulator"]


def found(body: str) -> Candidate:
    """Examine a flow of ``body``, whose first line is LINE of the file."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return examine(HEAD + lines, "tried.py", providers=PROVIDERS)


BOTH = f"{ASK.format('a', ', emit=True')}, {ASK.format('b', ', emit=True')}".replace("await ", "")
TOOL = 'MountedTool(Tool("same", "", {"type": "object"}), answer)'
CONVERSE = "return await run.converse(run.params.model, run.conversation, tools=tools, step='a')"
ASK_WORD = "await run.ask(run.params.model, step=word)"

REFUSED = {
    "two emitters": (
        f"one, two = await asyncio.gather({BOTH})\nreturn one",
        f"tried.py:{LINE}: Step 'b' was started with emit while step 'a' is still emitting",
    ),
    "tools of one name": (
        f"async def answer(call): return ''\ntools = [{TOOL}, {TOOL}]\n{CONVERSE}",
        f"tried.py:{LINE + 2}: The mounted tool 'same' has the same name as another",
    ),
    "unknown provider": (
        "return await run.ask('opnai:gpt-5', step='a')",
        f"tried.py:{LINE}: step 'a' asks 'opnai:gpt-5', whose provider is not known. Providers: ",
    ),
    "no model": (
        "return await run.ask('gpt-5', step='a')",
        f"tried.py:{LINE}: Step 'a' asks 'gpt-5', which is not of the form provider:model",
    ),
    "forgotten await": (
        "return Reply((Text(f'{run.recall(str())}'),))",
        f"tried.py:{LINE}: recall(...) is called without `await`.",
    ),
    "unknown parameter": (
        "return await run.ask(run.params.modell, step='a')",
        f"tried.py:{LINE}: raised AttributeError: 'P' object has no attribute 'modell'",
    ),
    "wrong type": (
        "return Reply((Text('a' + 1),))",
        f"tried.py:{LINE}: raised TypeError",
    ),
    "no reply": (
        "return None",
        f"tried.py:{LINE - 2}: Flow 'tried' returned NoneType instead of a Reply. Return the",
    ),
    "not awaited": (
        f"return {ASK.format('a', '')}".replace("await ", ""),
        f"tried.py:{LINE - 2}: Flow 'tried' returned coroutine instead of a Reply. An await is",
    ),
    "hidden clock": (
        "import datetime as d\nd.datetime.now()\nreturn None",
        f"tried.py:{LINE + 1}: ",
    ),
    "clock behind a name": (
        "from datetime import datetime as moment\nmoment.now()\nreturn None",
        f"tried.py:{LINE + 1}: Cannot access datetime.datetime.now in a flow",
    ),
    "order of a set": (
        f"for word in set('abcdefg'):\n    reply = {ASK_WORD}\nreturn reply",
        "the flow behaves differently in two processes",
    ),
    "an object's address": (
        f"word = str(object())\nreturn {ASK.format('a', ', conversation=say(word)')}",
        "the flow behaves differently in two processes: call 1 is step 'a' of simulator:main with",
    ),
    "endless calls": (
        f"while True:\n    {ASK.format('again', '')}",
        "its limit is calls = 200",
    ),
    "nothing to wait for": (
        "await asyncio.Event().wait()",
        f"tried.py:{LINE - 2}: in a dry run with immediate answers, it waits for something that",
    ),
    "swallowed cancellation": (
        f"try:\n    return {ASK.format('a', '')}\nexcept BaseException:\n    return None",
        f"tried.py:{LINE + 2}: this also catches the cancellation of a run",
    ),
    "hash": ("hash('a')\nreturn None", f"tried.py:{LINE}: hash() is not allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_refused_with_its_line_and_what_to_do(name: str) -> None:
    """Where the line is known it is the flow's own."""
    body, says = REFUSED[name]
    with pytest.raises(FlowError) as caught:
        found(body)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("def tried(run: Run[P])", "must be declared with 'async def'"),
        ("async def tried(run: Run)", "must take exactly one argument, annotated"),
    ],
)
def test_a_flow_that_is_declared_wrong_is_refused_with_its_line(declared: str, says: str) -> None:
    """The decorator's, where it is noticed."""
    text = HEAD.replace("async def tried(run: Run[P])", declared) + "    return None\n"
    with pytest.raises(FlowError, match=f"tried.py:{LINE - 2}: Flow 'tried' ") as caught:
        examine(text, "tried.py")
    assert says in str(caught.value)


def test_a_wrong_parameter_is_refused_with_its_path() -> None:
    """Also one that only the dry run needs."""
    text = HEAD + f"    return {ASK.format('a', '')}\n"
    with pytest.raises(FlowError) as caught:
        examine(text, "tried.py", params={"model": "none", "modell": 1})
    assert "tried.py: params.model: must be provider:model, such as simulator:main, not" in str(
        caught.value
    )
    assert "tried.py: params.modell: is not known. Known: model." in str(caught.value)


def test_a_loop_that_computes_without_end_is_refused() -> None:
    """The dry run is cut off, not the command."""
    with pytest.raises(FlowError, match=f"tried.py:{LINE}: the flow computes for seconds"):
        found("while True: pass")


def test_what_fails_only_with_stub_replies_is_a_doubt() -> None:
    """A true answer may be one that the flow understands."""
    candidate = found(f"reply = {ASK.format('a', '')}\nint(reply.text)\nreturn reply")
    assert candidate.name == "tried"
    (doubt,) = candidate.doubts
    assert f"tried.py:{LINE + 1}: with stub replies the flow ended with an error" in doubt


def test_wrong_parameters_are_told_by_name() -> None:
    """All of them at once, with what may stand there."""
    with pytest.raises(FlowError) as refused:
        examine(
            HEAD + "    return Reply()\n", "tried.py", params={"model": "main", "modell": "a:b"}
        )
    wrong, unknown = str(refused.value).splitlines()
    assert wrong.startswith("tried.py: params.model: ")
    assert wrong.endswith("not 'main'.")
    assert unknown == "tried.py: params.modell: is not known. Known: model."


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_flow_that_ships_passes_like_any_other(name: str) -> None:
    """Nothing is held against users' flows that ours would not stand."""
    source = files("polyvox.workflows.templates").joinpath(f"{name}.py").read_text("utf-8")
    assert examine(source, f"{name}.py").doubts == ()


def test_a_folder_is_one_flow(tmp_path: Path) -> None:
    """Modules and texts are packed; tests and hidden files are not."""
    for path, text in {
        "flow.py": HEAD.replace("import asyncio", "from .words import WORD")
        + "    return Reply((Text(WORD),))\n",
        "words.py": "from importlib.resources import files\n"
        'WORD = files(__package__).joinpath("texts/word.md").read_text("utf-8")\n',
        "texts/word.md": "hello",
        "tests/test_flow.py": "import time\n",
        ".notes.bin": "x",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    assert examine(read_source(tmp_path), "folder").name == "tried"
    (tmp_path / "words.py").write_text("import time\nWORD = 'x'\n", "utf-8")
    with pytest.raises(FlowError, match=r"folder/words.py:1: import of 'time'"):
        examine(read_source(tmp_path), "folder")
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(FlowError, match=r"picture.png: only .py and text files"):
        read_source(tmp_path)

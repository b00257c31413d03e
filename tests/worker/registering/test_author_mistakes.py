"""What the author of a flow reads after a mistake: file, line, what is wrong, what to write."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyvox.worker.registering.registration import Candidate, examine, read_source
from polyvox.workflows.flow import FlowError

HEAD = """\
import json

from polyvox.workflows import Branch, Conversation, Model, MountedTool, Params, Reply, Run, Text
from polyvox.workflows import Tool, ToolCall, flow, user


class P(Params):
    model: Model = "x:a"
    words: int = 5


@flow
async def tried(run: Run[P]) -> Reply:
"""
LINE = HEAD.count("\n") + 1
ASK = 'reply = await run.ask(run.params.model, step="a")'
PANEL = 'panel = await run.panel([Branch("a", run.params.model, run.conversation)], '
MOUNTED = (
    "return await run.converse(run.params.model, run.conversation, "
    'tools=[MountedTool(Tool("t", "", {}), answer)], step="a")'
)

REFUSED: dict[str, tuple[str, int, str, str]] = {
    "await on what returns at once": (
        'await run.note("x")',
        0,
        "object NoneType can't be used in 'await'",
        "remove `await` here",
    ),
    "await on a time": ("await run.now()", 0, "object datetime.datetime", "remove `await` here"),
    "await on a property": ("await run.conversation", 0, "Conversation can't", "remove `await`"),
    "a text as the conversation": (
        'return await run.ask(run.params.model, "hello", step="a")',
        0,
        "gets a str instead of a Conversation",
        "Write run.conversation.then(user(text))",
    ),
    "messages as the conversation": (
        'return await run.ask(run.params.model, [user("x")], step="a")',
        0,
        "gets a list instead of a Conversation",
        "Conversation((user(text),))",
    ),
    "a text as a message": (
        'run.conversation.then("hello")',
        0,
        "then() takes messages, not str",
        "Write user(text)",
    ),
    "a list of messages": (
        'run.conversation.then([user("hello")])',
        0,
        "then() takes messages, not list",
        "then(*messages)",
    ),
    "a reply as a text": (
        f"{ASK}\nuser(reply)",
        1,
        "user() takes a text, not Reply",
        "Write user(reply.text)",
    ),
    "no step": ("await run.ask(run.params.model)", 0, "run.ask() missing 1 required", 'step="d'),
    "an option of the request": (
        'await run.ask(run.params.model, step="a", max_tokens=5)',
        0,
        "unexpected keyword argument 'max_tokens'",
        "run.conversation.with_options(max_tokens=...)",
    ),
    "stream instead of emit": (
        'await run.ask(run.params.model, step="a", stream=True)',
        0,
        "unexpected keyword argument 'stream'",
        "write emit=True",
    ),
    "an option that does not exist": (
        "run.conversation.with_options(max_token=5)",
        0,
        "unexpected keyword argument 'max_token'",
        "Did you mean 'max_tokens'?",
    ),
    "a text as the format": (
        'run.conversation.with_options(format="json")',
        0,
        "the option 'format' takes",
        "OutputFormat",
    ),
    "a forgotten await": (
        'reply = run.ask(run.params.model, step="a")\nreturn Reply((Text(reply.text),))',
        1,
        "'coroutine' object has no attribute 'text'",
        "an `await` is missing",
    ),
    "no return": (ASK, -2, "returned NoneType instead of a Reply", "a `return` is missing"),
    "a text as the reply": ('return "hi"', -2, "returned str instead of a Reply", "your own Reply"),
    "a text as the parts": ('return Reply("hi")', -2, "Reply with a str", "Reply((Text(text),))"),
    "a part as the parts": (
        'return Reply(Text("hi"))',
        -2,
        "Reply with a Text",
        "Reply((Text(text),))",
    ),
    "a model without a provider": (
        'await run.ask("gpt-5", step="a")',
        0,
        "not of the form provider:model",
        "a parameter of type Model",
    ),
    "no model": ('await run.ask(None, step="a")', 0, "asks None", "a parameter of type Model"),
    "a parameter that does not exist": (
        "run.params.modle",
        0,
        "'P' object has no attribute 'modle'",
        "Did you mean 'model'? The parameters are: model, words.",
    ),
    "a method that does not exist": (
        'await run.aks(run.params.model, step="a")',
        0,
        "'Run' object has no attribute 'aks'",
        "Did you mean 'ask'?",
    ),
    "a member that does not exist": (
        f"{ASK}\nrun.note(reply.content)",
        1,
        "'Reply' object has no attribute 'content'",
        "Reply has: ",
    ),
    "pairs taken for replies": (
        f"{PANEL}quorum=1, grace_s=1)\npanel.answers[0].text",
        1,
        "'tuple' object has no attribute 'text'",
        "for branch, reply in panel.answers",
    ),
    "models taken for branches": (
        "await run.panel([run.params.model], quorum=1, grace_s=1)",
        0,
        "A panel takes branches, not str",
        "Branch(step, model, conversation)",
    ),
    "a panel without a quorum": (f"{PANEL})", 0, "run.panel() missing 2", "docs/reference.md"),
    "a mounted tool that is not async": (
        f"def answer(call):\n    return ''\n{MOUNTED}",
        2,
        "The function of the mounted tool 't'",
        "must be declared with `async def`",
    ),
    "a mounted tool that returns an object": (
        f"async def answer(call):\n    return {{}}\n{MOUNTED}",
        2,
        "returned dict instead of a text",
        "json.dumps(value)",
    ),
    "arguments taken for an object": (
        f"async def answer(call):\n    return call.arguments['q']\n{MOUNTED}",
        1,
        "string indices must be integers",
        "json.loads(...)",
    ),
    "a tool that is not mounted": (
        MOUNTED.replace("MountedTool(", "(").replace(", answer)", ")"),
        0,
        "converse() takes mounted tools, not Tool",
        "MountedTool(tool, answer)",
    ),
    "a parameter that is set": (
        "run.params.words = 3",
        0,
        "Instance is frozen",
        "Their methods return changed copies",
    ),
    "a message that is appended": (
        'run.conversation.messages.append(user("x"))',
        0,
        "'tuple' object has no attribute 'append'",
        "conversation.then(...)",
    ),
    "tokens that are added without a usage": (
        f"{ASK}\nreply.usage.input + 1\nreturn reply",
        1,
        "'NoneType' and 'int'",
        "Add up usages instead of their numbers",
    ),
    "an emitted step that is not returned": (
        f'{ASK.replace(")", ", emit=True)")}\nreturn Reply((Text("Something else."),))',
        0,
        "step 'a' is emitted, but the Reply of the flow does not begin with it",
        "ask without emit=True",
    ),
    "two emitted steps": (
        (
            f"{ASK.replace(')', ', emit=True)')}\n"
            'return await run.ask(run.params.model, step="b", emit=True)'
        ),
        0,
        "step 'a' is emitted",
        "return the reply of this step",
    ),
    "a name that is not imported": ("Usage()", 0, "'Usage' is not defined", "import Usage"),
    "a misspelt name": ('usr("x")', 0, "'usr' is not defined", "Did you mean 'user'"),
    "an unknown scope": (
        f'await run.remember("x", 1, scope="user")\n{ASK}\nreturn reply',
        0,
        "there is no scope 'user'",
        '"turn", "session" or "always"',
    ),
    "a misspelt import": (
        "from polyvox.workflows import Convesation",
        0,
        "polyvox.workflows.Convesation is not available",
        "did you mean 'Conversation'?",
    ),
    "requests of its own": ("import requests", 0, "import of 'requests'", "run.ask(...)"),
    "processes": ("import subprocess", 0, "import of 'subprocess'", "check_code"),
    "files": ("from pathlib import Path", 0, "import of 'pathlib'", "as a parameter"),
    "invalid syntax": (
        'await run.ask(run.params.model step="a")',
        0,
        "this is not valid Python: invalid syntax. Perhaps you forgot a comma? The line is: await",
        'step="a")',
    ),
}
"""By the mistake: the flow's lines, the number of the wrong one, what is wrong, what to write."""

TOP_LEVEL: dict[str, tuple[str, str]] = {
    "@flow()\nasync def f(run): ...\n": ("flow.py:3: ", "write @flow without parentheses"),
    "x = 1\n": ("flow.py must declare exactly one @flow", "put @flow above `async def"),
    "class P(Params):\n    model = 'x:a'\n": ("flow.py:3: ", "every parameter needs a type"),
}


def tried(body: str) -> FlowError | Candidate:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    try:
        return examine(HEAD + lines, "tried.py", providers=["x"])
    except FlowError as error:
        return error


def test_a_mistake_is_told_with_its_line_what_is_wrong_and_what_to_write() -> None:
    """All mistakes of the table, with two dry runs at a time."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda known: tried(known[0]), REFUSED.values()))
    wrong = {}
    for (name, (_, line, what, remedy)), error in zip(REFUSED.items(), found, strict=True):
        told = str(error)
        wanted = (f"tried.py:{LINE + line}: ", what, remedy)
        if not all(part in told for part in wanted) or "For further information" in told:
            wrong[name] = told
    assert not wrong


@pytest.mark.parametrize("source", TOP_LEVEL)
def test_a_mistake_outside_the_function_is_explained_too(source: str) -> None:
    where, remedy = TOP_LEVEL[source]
    text = f"from polyvox.workflows import Params, flow\n\n{source}"
    with pytest.raises(FlowError) as caught:
        examine(text, "flow.py")
    told = str(caught.value)
    assert where in told
    assert remedy in told


def test_a_doubt_is_explained_too() -> None:
    """What fails with stub replies may work with real ones, so it is a warning."""
    candidate = tried(f"{ASK}\njson.loads(reply.text)\nreturn reply")
    assert isinstance(candidate, Candidate)
    (doubt,) = candidate.doubts
    assert f"tried.py:{LINE + 1}: " in doubt
    assert "a model may answer with any text" in doubt


def test_a_note_may_hold_any_value() -> None:
    """The ledger could not store it, and would lose the end of the run."""
    candidate = tried(f"{ASK}\nrun.note('x', reply=reply)\nreturn reply")
    assert isinstance(candidate, Candidate)
    assert candidate.doubts == ()


def test_a_file_that_is_no_program_is_not_read_as_one(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("My notes on flows.\n")
    with pytest.raises(FlowError, match=r"notes.txt' is not a Python file. Register a file that"):
        read_source(notes)

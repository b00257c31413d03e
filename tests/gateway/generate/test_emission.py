"""Streamed or whole, in each protocol, a client gets the same answer of a flow that emits."""

import pytest

from polyvox.workflows.steps.emission import NOT_IN_REPLY
from tests.programs.clients import Client, Question, Said
from tests.programs.running import Live

HEAD = """\
from polyvox.workflows import ModelError, Model, Params, Reply, Run, Text, flow


class P(Params):
    one: Model = "{one}"
    two: Model = "sim-messages:optimist"


@flow
async def {name}(run: Run[P]) -> Reply:
"""

FLOWS = {
    "emits_another": (
        'await run.ask(run.params.one, step="one", emit=True)\n'
        'return Reply((Text("Something else."),))'
    ),
    "emits_twice": (
        'await run.ask(run.params.one, step="one", emit=True)\n'
        'return await run.ask(run.params.two, step="two", emit=True)'
    ),
    "emits_and_joins": (
        'one = await run.ask(run.params.one, step="one", emit=True)\n'
        'two = await run.ask(run.params.two, step="two", emit=True)\n'
        'return Reply((Text(one.text + two.text + " The end."),))'
    ),
    "emits_then_shows": (
        'one = await run.ask(run.params.one, step="one", emit=True)\n'
        'await run.show("Now the rest.\\n")\n'
        'return Reply((*one.parts, Text(" The end.")))'
    ),
    "falls_back": (
        "try:\n"
        '    return await run.ask(run.params.one, step="one", emit=True)\n'
        "except ModelError:\n"
        '    return await run.ask(run.params.two, step="two", emit=True)'
    ),
}
FLOWS["waits_no_longer"] = FLOWS["falls_back"].replace('"one", emit', '"one", timeout_s=1, emit')
MODELS = {"falls_back": "sim-chat:main-cut3", "waits_no_longer": "sim-chat:main-stall3"}


@pytest.fixture(scope="module", autouse=True)
def flows(live: Live) -> None:
    """The flows as an earlier program may have registered them: without the dry run."""
    for name, body in FLOWS.items():
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        head = HEAD.format(name=name, one=MODELS.get(name, "sim-chat:main"))
        live.program.runtime.registry.register(head + lines, f"{name}.py")


@pytest.mark.parametrize("model", [name for name in FLOWS if name not in MODELS])
def test_a_stream_and_a_whole_answer_say_the_same(live: Live, client: Client, model: str) -> None:
    """And what contradicts the flow's own Reply is in the run's notes."""
    question = Question(model, (Said("hello there"),))
    streamed = client.ask(question, stream=True)
    whole = client.ask(question, stream=False)
    assert streamed.text == whole.text
    assert streamed.finish == whole.finish == "stop"
    assert "hello there" in whole.text
    for answered in (streamed, whole):
        run = live.ended(answered.run_id)
        noted = [note["steps"] for note in run["notes"] if note["what"] == NOT_IN_REPLY]
        assert noted == ([["one"]] if model in ("emits_another", "emits_twice") else [])


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_that_was_cut_off_does_not_go_on_with_another_answer(
    live: Live, client: Client, model: str
) -> None:
    """Who reads the whole answer gets the fallback's; who has a part of the first, an error."""
    question = Question(model, (Said("hello there"),))
    whole = client.ask(question, stream=False)
    assert whole.text
    with pytest.raises(Exception, match="premature end"):
        client.ask(question, stream=True)

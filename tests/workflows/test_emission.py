"""The stream and the whole answer say the same: a Reply begins with what was emitted."""

import pytest

from polyvox.workflows import (
    Branch,
    Flow,
    Model,
    ModelError,
    MountedTool,
    Params,
    Reply,
    Run,
    Text,
    Tool,
    ToolCall,
    flow,
    user,
)
from polyvox.workflows.conversation import Part, Reasoning
from polyvox.workflows.steps.emission import NOT_IN_REPLY
from polyvox.workflows.testing import Played, Rehearsal

A, B = "x:a", "x:b"


class Two(Params):
    one: Model = A
    two: Model = B


@flow
async def another_text(run: Run[Two]) -> Reply:
    """Emit one text and return another."""
    await run.ask(run.params.one, step="one", emit=True)
    return Reply((Text("Something else."),))


@flow
async def two_steps(run: Run[Two]) -> Reply:
    """Emit two answers and return the second."""
    await run.ask(run.params.one, step="one", emit=True)
    return await run.ask(run.params.two, step="two", emit=True)


@flow
async def first_of_two(run: Run[Two]) -> Reply:
    """Emit two answers and return the first."""
    one = await run.ask(run.params.one, step="one", emit=True)
    await run.ask(run.params.two, step="two", emit=True)
    return one


@flow
async def headed(run: Run[Two]) -> Reply:
    """Put a heading before what was emitted."""
    one = await run.ask(run.params.one, step="one", emit=True)
    return Reply((Text("Heading"), *one.parts))


@flow
async def footed(run: Run[Two]) -> Reply:
    """Add a text to the emitted one."""
    one = await run.ask(run.params.one, step="one", emit=True)
    return Reply((Text(f"{one.text} And more."),))


@flow
async def joined(run: Run[Two]) -> Reply:
    """Return two emitted texts as one part, without their white space."""
    one = await run.ask(run.params.one, step="one", emit=True)
    two = await run.ask(run.params.two, step="two", emit=True)
    return Reply((Text(f"{one.text}{two.text}".strip()),))


@flow
async def shown(run: Run[Two]) -> Reply:
    """Show progress between two emitting steps, and return both answers."""
    await run.show("First.\n")
    one = await run.ask(run.params.one, step="one", emit=True)
    await run.show("Second.\n")
    two = await run.ask(run.params.two, step="two", emit=True)
    return Reply((*one.parts, *two.parts))


@flow
async def quiet(run: Run[Two]) -> Reply:
    """Emit nothing."""
    branches = [Branch("one", run.params.one, run.conversation.then(user("Well?")))]
    panel = await run.panel(branches, quorum=1, grace_s=0)
    return Reply((Text(panel.answers[0][1].text.upper()),))


@flow
async def dropped_call(run: Run[Two]) -> Reply:
    """Emit a call of the client's tool and return a text."""
    await run.ask(run.params.one, step="one", emit=True)
    return Reply((Text("Never mind."),))


@flow
async def mounted(run: Run[Two]) -> Reply:
    """Use a tool that the client does not see, between two texts."""

    async def answer(_call: ToolCall) -> str:
        await run.show("Looking.\n")
        return "found"

    tools = [MountedTool(Tool("look", "", {}), answer)]
    return await run.converse(run.params.one, run.conversation, tools=tools, step="one")


@flow
async def recovered(run: Run[Two]) -> Reply:
    """Fall back after a failure."""
    try:
        return await run.ask(run.params.one, step="one", emit=True)
    except ModelError:
        return await run.ask(run.params.two, step="two", emit=True)


def played(tried: Flow, *answers: object) -> Played:
    one, two = (*answers, "Second answer.")[:2]
    return Rehearsal({A: one, B: two}).play(tried, "Which?")  # type: ignore[dict-item]


def contradicted(run: Played) -> list[str]:
    return [s for note in run.notes if note["what"] == NOT_IN_REPLY for s in note["steps"]]


CASES: list[tuple[Flow, tuple[Part, ...], list[str]]] = [
    (another_text, (Text("First answer."), Text("Something else.")), ["one"]),
    (two_steps, (Text("First answer."), Text("Second answer.")), ["one"]),
    (first_of_two, (Text("First answer."), Text("Second answer.")), ["two"]),
    (headed, (Text("First answer."), Text("Heading")), ["one"]),
    (footed, (Text("First answer."), Text(" And more.")), []),
    (joined, (Text("First answer."), Text("Second answer.")), []),
    (quiet, (Text("FIRST ANSWER."),), []),
]


@pytest.mark.parametrize(("tried", "parts", "steps"), CASES, ids=lambda case: str(case)[:20])
def test_a_reply_begins_with_what_was_emitted(
    tried: Flow, parts: tuple[Part, ...], steps: list[str]
) -> None:
    """What the flow's own Reply has beyond that follows; a contradiction is noted."""
    run = played(tried, "First answer.")
    assert run.reply.parts == parts
    assert run.reply.parts[: len(run.shown)] == run.shown
    assert contradicted(run) == steps


def test_white_space_around_a_text_is_no_contradiction() -> None:
    run = played(joined, "First answer.\n\n", "Second answer.\n")
    assert run.reply.text == "First answer.\n\nSecond answer.\n"
    assert contradicted(run) == []


def test_progress_is_where_it_was_shown() -> None:
    """Between the texts it separated, in the stream and in the whole answer."""
    run = played(shown, "First answer.")
    assert run.reply.parts == run.shown
    assert [type(part) for part in run.shown] == [Reasoning, Text, Reasoning, Text]
    assert contradicted(run) == []


def test_calls_of_mounted_tools_are_neither_emitted_nor_missing() -> None:
    calling = Reply((Text("Let me look."), ToolCall("1", "look", "{}")), "tool_calls")
    run = played(mounted, [calling, "It is there."])
    assert run.reply.parts == (Text("Let me look."), Reasoning("Looking.\n"), Text("It is there."))
    assert run.shown == run.reply.parts
    assert contradicted(run) == []


def test_a_text_after_a_call_that_is_held_back_is_no_contradiction() -> None:
    """An answer with a mounted call and one of the client's: only its texts are streamed."""
    parts = (Text("Look."), ToolCall("1", "own", "{}"), ToolCall("2", "look", "{}"), Text("Done."))
    run = played(mounted, [Reply(parts, "tool_calls")])
    assert run.shown[:2] == (Text("Look."), Text("Done."))
    assert run.reply.parts[:2] == run.shown[:2]
    assert [call.id for call in run.reply.tool_calls] == ["1"]
    assert contradicted(run) == []


def test_an_emitted_call_is_in_the_answer_with_its_finish_reason() -> None:
    """The client that reads the stream makes the call, so the other one must be able to."""
    call = ToolCall("1", "search", '{"q": "x"}')
    run = played(dropped_call, call)
    assert run.reply.parts == (call, Text("Never mind."))
    assert run.reply.finish == "tool_calls"
    assert contradicted(run) == ["one"]


def test_a_failed_step_emitted_nothing_for_a_whole_answer() -> None:
    """A stream that has a part of it ends with an error instead."""
    run = played(recovered, ModelError("provider_error", "no"))
    assert run.reply.parts == (Text("Second answer."),)
    assert contradicted(run) == []

"""Flows tried in memory: what the fake run promises, and what a Run does whatever it stands on."""

import asyncio

import pytest

from polyvox.workflows import (
    Branch,
    ModelError,
    MountedTool,
    Params,
    Reasoning,
    Reply,
    Run,
    Text,
    Tool,
    ToolCall,
    assistant,
    flow,
    tool_result,
    user,
)
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.flow import Flow
from polyvox.workflows.steps.ask import Scope
from polyvox.workflows.testing import After, Limits, Played, Rehearsal


class Nothing(Params):
    pass


LOOKUP = Tool("lookup", "Looks up.", {"type": "object", "properties": {}})


@flow
async def echo(run: Run[Nothing]) -> Reply:
    return await run.ask("x:a", step="main", emit=True)


def play(models: dict[str, object], told: Flow = echo, said: str = "Hi") -> Played:
    return Rehearsal(models).play(told, said)  # type: ignore[arg-type]


def test_a_flow_runs_without_server_or_network() -> None:
    """Reply, step and what the client saw are there to be looked at."""
    played = play({"x:a": "Hello."})
    assert (played.text, played.shown) == ("Hello.", (Text("Hello."),))
    (step,) = played.steps
    assert (step.name, step.model, step.emit) == ("main", "x:a", True)
    assert played.asked("main").last_user_text == "Hi"


def test_time_is_virtual_and_exact() -> None:
    """An hour passes at once, and both clocks tell it."""

    @flow
    async def patient(run: Run[Nothing]) -> Reply:
        began = run.now()
        await asyncio.sleep(3600)
        return Reply((Text(str((run.now() - began).total_seconds())),))

    played = play({}, patient)
    assert (played.text, played.took_s) == ("3600.0", 3600.0)


def test_a_panel_waits_for_its_quorum_and_the_grace_only() -> None:
    """Who is too late is a typed failure, at the moment the grace is over."""

    @flow
    async def panel(run: Run[Nothing]) -> Reply:
        branches = [Branch(name, f"x:{name}", run.conversation) for name in ("a", "b", "c")]
        found = await run.panel(branches, quorum=2, grace_s=5, timeout_s=60)
        return Reply((Text("".join(reply.text for _, reply in found.answers)),))

    played = play({"x:a": After(1, "A"), "x:b": After(2, "B"), "x:c": After(30, "C")}, panel)
    assert (played.text, played.took_s) == ("AB", 7.0)
    (note,) = played.notes
    assert (note["step"], note["kind"]) == ("c", "timeout")


def test_a_failure_is_the_runs_as_a_client_meets_it() -> None:
    """``reply`` raises it, ``error`` has it, the step tells where."""
    played = play({"x:a": ModelError("rate_limit", "Slow down.")})
    assert played.error is not None
    assert played.steps[0].error is played.error
    with pytest.raises(ModelError, match=r"Slow down\."):
        _ = played.reply


@pytest.mark.parametrize(
    ("models", "says"),
    [({}, "has no answer for 'x:a'"), ({"x:a": []}, "more often than its script has answers")],
)
def test_a_script_that_lacks_an_answer_says_so(models: dict[str, object], says: str) -> None:
    """The author's slip is named, not guessed around."""
    error = play(models).error
    assert error is not None
    assert error.kind == "flow_error"
    assert says in error.message


def test_a_flow_that_waits_for_nothing_is_told() -> None:
    """In a rehearsal nothing can come from outside."""

    @flow
    async def stuck(run: Run[Nothing]) -> Reply:
        await asyncio.Event().wait()
        return Reply(())

    with pytest.raises(RuntimeError, match="can never happen"):
        play({}, stuck)


def test_two_steps_that_emit_at_once_are_an_authors_error() -> None:
    """The client has one stream; which step was in the way is named."""

    @flow
    async def torn(run: Run[Nothing]) -> Reply:
        first, _ = await asyncio.gather(
            run.ask("x:a", step="one", emit=True), run.ask("x:a", step="two", emit=True)
        )
        return first

    error = play({"x:a": After(1, "A")}, torn).error
    assert error is not None
    assert error.kind == "flow_error"
    assert "'two'" in error.message
    assert "'one' is still emitting" in error.message


def test_a_model_without_a_provider_is_an_authors_error() -> None:
    """It says which step and what a model looks like."""

    @flow
    async def lost(run: Run[Nothing]) -> Reply:
        return await run.ask("gpt", step="main")

    error = play({}, lost).error
    assert error is not None
    assert (error.kind, "form provider:model" in error.message) == ("flow_error", True)


async def found(_call: ToolCall) -> str:
    return "42"


@pytest.mark.parametrize(
    ("tools", "client", "whose"),
    [
        ([MountedTool(LOOKUP, found)], (LOOKUP,), "a tool of the client"),
        ([MountedTool(LOOKUP, found)] * 2, (), "another mounted tool"),
    ],
)
def test_a_mounted_tools_name_must_be_free(
    tools: list[MountedTool], client: tuple[Tool, ...], whose: str
) -> None:
    """Their calls could not be distinguished otherwise."""

    @flow
    async def clash(run: Run[Nothing]) -> Reply:
        return await run.converse("x:a", run.conversation, tools=tools, step="main")

    told = Conversation((user("Hi"),), tools=client)
    error = Rehearsal({"x:a": "."}).play(clash, told).error
    assert error is not None
    assert error.kind == "flow_error"
    assert whose in error.message


@flow
async def mounted(run: Run[Nothing]) -> Reply:
    tools = [MountedTool(LOOKUP, found)]
    return await run.converse("x:a", run.conversation, tools=tools, step="main")


def test_what_the_client_does_not_see_comes_back_with_its_next_request() -> None:
    """The model meets its call and the result again; the client only ever saw the text."""
    rehearsal = Rehearsal(
        {"x:a": [Reply((Text("Let me see."), ToolCall("1", "lookup", "{}"))), "It is 42.", "Yes."]}
    )
    told = Conversation((user("What is it?"),))
    first = rehearsal.play(mounted, told)
    assert first.text == "Let me see.It is 42."
    assert not first.reply.tool_calls
    then = told.then(assistant(Text("Let me see.It is 42.")), user("Sure?"))
    second = rehearsal.play(mounted, then)
    call = ToolCall("1", "lookup", "{}")
    assert second.asked("main").messages == (
        user("What is it?"),
        assistant(Text("Let me see."), call),
        tool_result(call, "42"),
        assistant(Text("It is 42.")),
        user("Sure?"),
    )


def test_a_mounted_tool_may_have_tools_of_its_own() -> None:
    """The inner conversation is neither shown nor remembered."""

    @flow
    async def nested(run: Run[Nothing]) -> Reply:
        async def research(_call: ToolCall) -> str:
            asked = Conversation((user("Dig."),))
            tools = [MountedTool(LOOKUP, found)]
            inner = await run.converse("x:b", asked, tools=tools, step="dig", emit=False)
            return inner.text

        outer = MountedTool(Tool("research", None, {"type": "object"}), research)
        return await run.converse("x:a", run.conversation, tools=[outer], step="main")

    played = play(
        {
            "x:a": [ToolCall("1", "research", "{}"), "Done."],
            "x:b": [ToolCall("2", "lookup", "{}"), "Dug 42."],
        },
        nested,
    )
    assert (played.text, played.shown) == ("Done.", (Text("Done."),))
    assert played.asked("main").messages[-1] == tool_result(
        ToolCall("1", "research", "{}"), "Dug 42."
    )


def test_mounted_calls_of_one_answer_run_at_once() -> None:
    """Two of five seconds take five."""

    @flow
    async def slow(run: Run[Nothing]) -> Reply:
        async def wait(_call: ToolCall) -> str:
            await asyncio.sleep(5)
            return "ok"

        tools = [MountedTool(LOOKUP, wait)]
        return await run.converse("x:a", run.conversation, tools=tools, step="main")

    calls = (ToolCall("1", "lookup", "{}"), ToolCall("2", "lookup", "{}"))
    assert play({"x:a": [Reply(calls), "Done."]}, slow).took_s == 5.0


def test_progress_is_reasoning_of_the_reply_and_never_its_text() -> None:
    """It is shown when it happens, and stands in the Reply where it was shown."""

    @flow
    async def talking(run: Run[Nothing]) -> Reply:
        await run.show("Asking around.")
        return await run.ask("x:a", step="main", emit=True)

    played = play({"x:a": "Hello."}, talking)
    assert played.shown == (Reasoning("Asking around."), Text("Hello."))
    assert played.reply.parts == played.shown
    assert played.text == "Hello."


@flow
async def counting(run: Run[Nothing]) -> Reply:
    scopes: tuple[Scope, ...] = ("turn", "session", "always")
    seen = {scope: await run.recall("n", scope=scope) or 0 for scope in scopes}
    for scope, number in seen.items():
        await run.remember("n", number + 1, scope=scope)
    return Reply((Text(" ".join(str(n) for n in seen.values())),))


def test_memories_last_as_long_as_their_scope() -> None:
    """A tool's result goes on with the turn, a new word begins one, another opening a session."""
    rehearsal = Rehearsal({})
    told = Conversation((user("One"),))
    call = ToolCall("1", "get_weather", "{}")
    tool_round = told.then(assistant(call), tool_result(call, "Rain"))
    next_turn = told.then(assistant(Text("Fine.")), user("Two"))
    other = Conversation((user("Another"),))
    conversations = (told, tool_round, next_turn, other)
    assert [rehearsal.play(counting, c).text for c in conversations] == [
        "0 0 0",
        "1 1 1",
        "0 2 2",
        "0 0 3",
    ]


def test_a_session_a_client_names_holds_over_all_openings() -> None:
    """The header counts more than how the conversation begins."""
    rehearsal = Rehearsal({})
    headers = {"x-claude-code-session-id": "s1"}
    texts = [rehearsal.play(counting, word, headers=headers).text for word in ("One", "Two")]
    assert [text.split()[1] for text in texts] == ["0", "1"]


@flow
async def gated(run: Run[Nothing]) -> Reply:
    approved = await run.approve("Deploy?", timeout_s=60)
    return Reply((Text("deployed" if approved else "left"),))


@pytest.mark.parametrize(
    ("approvals", "text", "took_s"),
    [
        ({"Deploy?": True}, "deployed", 0.0),
        ({"Deploy?": After(30, True)}, "deployed", 30.0),
        ({"Deploy?": After(90, True)}, "left", 60.0),
        ({}, "left", 60.0),
    ],
)
def test_a_person_who_does_not_answer_in_time_gets_the_default(
    approvals: dict[str, bool | After], text: str, took_s: float
) -> None:
    """The trace tells what was decided and whether somebody did."""
    played = Rehearsal({}, approvals=approvals).play(gated, "Go")
    assert (played.text, played.took_s) == (text, took_s)
    assert played.notes[0]["in_time"] is (text == "deployed")


def test_a_tool_runs_outside_the_flow() -> None:
    """Its result is JSON; one the rehearsal lacks is named."""

    @flow
    async def adding(run: Run[Nothing]) -> Reply:
        total = await run.tool("add", {"a": 1, "b": 2})
        return Reply((Text(str(total)),))

    tools = {"add": lambda params: params["a"] + params["b"]}
    assert Rehearsal({}, tools=tools).play(adding, "Go").text == "3"
    error = Rehearsal({}).play(adding, "Go").error
    assert error is not None
    assert "no tool 'add'" in error.message


@flow
async def twice(run: Run[Nothing]) -> Reply:
    first = await run.ask("x:a", step="first")
    run.note("spent", usd=run.cost.usd, unknown=run.cost.unknown)
    return await run.ask("x:b", run.conversation.then(first.message), step="second")


@pytest.mark.parametrize(
    ("cost", "told"),
    [(0.2, None), (0.3, "the run has cost $0.3000"), (None, "the remaining budget is unknown")],
    ids=["within", "spent", "unknown"],
)
def test_a_run_asks_nothing_more_when_its_money_is_spent_or_uncounted(
    cost: float | None, told: str | None
) -> None:
    rehearsal = Rehearsal({"x:a": Reply((Text("One."),), cost_usd=cost), "x:b": "Two."})
    played = rehearsal.play(twice, "Hi", limits=Limits(cost_usd=0.3))
    assert played.notes[0] == {"what": "spent", "usd": cost or 0.0, "unknown": int(cost is None)}
    if told is None:
        assert played.reply.cost_usd == cost
        return
    assert played.error is not None
    assert played.error.kind == "flow_error"
    assert told in played.error.message

"""What is found wrong with a reply, and how often a model is asked to mend it."""

import pytest

from polyvox.workflows import (
    Conversation,
    FitsTools,
    FollowsSchema,
    ModelError,
    Params,
    Reply,
    Run,
    Satisfies,
    Text,
    Tool,
    ToolCall,
    Verified,
    assistant,
    flow,
    user,
)
from polyvox.workflows.flow import Flow
from polyvox.workflows.testing import Played, Rehearsal


class Nothing(Params):
    pass


WEATHER = Tool(
    "get_weather",
    None,
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def play(models: dict[str, object], told: Flow) -> Played:
    return Rehearsal(models).play(told, "Hi")  # type: ignore[arg-type]


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_a_reply_that_does_not_pass_is_asked_for_again() -> None:
    """The model is told what is wrong and gets its own answer back."""

    @flow
    async def checked(run: Run[Nothing]) -> Reply:
        first = await run.ask("x:a", step="main")
        done = await run.repair("x:a", first, [FollowsSchema(SCHEMA)])
        assert done.passed
        return done.reply

    played = play({"x:a": ["n is 3", '{"n": "3"}', '{"n": 3}']}, checked)
    assert played.text == '{"n": 3}'
    assert [step.name for step in played.steps] == ["main", "repair", "repair"]
    told = played.asked("repair").messages
    assert told[-2] == assistant(Text('{"n": "3"}'))
    assert "at $.n: '3' is not of type 'integer'" in told[-1].text


def test_repairs_are_bounded() -> None:
    """What is still wrong comes back with the last reply."""

    @flow
    async def hopeless(run: Run[Nothing]) -> Reply:
        first = await run.ask("x:a", step="main")
        short = Satisfies(lambda reply: "Too long." if len(reply.text) > 3 else None)
        done = await run.repair("x:a", first, [short], rounds=2)
        return Reply((Text(f"{done.rounds} {done.complaints[0]}"),))

    played = play({"x:a": "Never short."}, hopeless)
    assert (played.text, len(played.steps)) == ("2 Too long.", 3)


def test_a_call_is_checked_against_the_clients_own_tools() -> None:
    """Each call that did not pass gets a result, or providers would refuse the conversation."""

    @flow
    async def strict(run: Run[Nothing]) -> Reply:
        first = await run.ask("x:a", step="main")
        return (await run.repair("x:a", first, [FitsTools()])).reply

    wrong = ToolCall("1", "get_weather", '{"town": "Paris"}')
    right = ToolCall("2", "get_weather", '{"city": "Paris"}')
    told = Conversation((user("Weather?"),), tools=(WEATHER,))
    played = Rehearsal({"x:a": [wrong, right]}).play(strict, told)
    assert played.reply.tool_calls == (right,)
    asked = played.asked("repair").messages
    assert [message.role for message in asked] == ["user", "assistant", "tool", "user"]
    assert "'city' is a required property" in asked[-1].text


@pytest.mark.parametrize(
    ("verdict", "complaints"),
    [
        ('{"passed": true, "complaints": []}', ()),
        ('{"passed": false, "complaints": ["Say why."]}', ("Say why.",)),
        ("I like it.", ()),
        (ModelError("overloaded", "Full."), ()),
    ],
)
def test_a_verifier_that_cannot_judge_does_not_stop_the_answer(
    verdict: object, complaints: tuple[str, ...]
) -> None:
    """Only a verdict that says so lets an answer fall."""

    @flow
    async def judged(run: Run[Nothing]) -> Reply:
        answer = await run.ask("x:a", step="main")
        found = await run.check(answer, [Verified("x:judge")])
        return Reply((Text("|".join(found)),))

    played = play({"x:a": "Because.", "x:judge": verdict}, judged)
    assert played.text == "|".join(complaints)

"""Mistakes on purpose, the eye for them, and the record of what was received."""

import httpx
import orjson
import pytest

from polyvox.gateway.simulator import plan
from polyvox.gateway.simulator.acting import rules
from polyvox.gateway.simulator.listening import serve
from polyvox.gateway.simulator.record import MOST_BYTES, Record
from polyvox.workflows.conversation import (
    Conversation,
    Options,
    OutputFormat,
    Text,
    Tool,
    assistant,
    user,
)

COMPLAINT = "Your last answer was checked and did not pass:\n- 2 + 2 = 5 is wrong: it is 4."
CODE = "Write the function add in solution.py"
CITY = Tool(
    "get_weather",
    None,
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def said(
    model: str, *texts: str, options: Options | None = None, tools: tuple[Tool, ...] = ()
) -> str:
    """Return what ``model`` says, or the arguments of its call, after ``texts`` of the user."""
    messages = [message for text in texts for message in (user(text), assistant(Text("...")))]
    told = Conversation(tuple(messages[:-1]), tools=tools, options=options or Options())
    reply = rules.answer(told, plan.parse(model))
    return reply.text or "".join(call.arguments for call in reply.tool_calls)


def test_a_slip_lasts_until_it_is_complained_of() -> None:
    """``slip2`` needs to be told twice; a model without slips makes none."""
    assert "2 + 2 = 5" in said("main-slip1", "Tell me.")
    assert "2 + 2 = 5" not in said("main-slip1", "Tell me.", COMPLAINT)
    assert "2 + 2 = 5" in said("main-slip2", "Tell me.", COMPLAINT)
    assert "2 + 2 = 5" not in said("main-slip2", "Tell me.", COMPLAINT, COMPLAINT)
    assert "2 + 2 = 5" not in said("main", "Tell me.")


def test_code_is_written_wrongly_and_then_rightly() -> None:
    """The file is given again after a complaint that does not name it."""
    assert "return a - b" in said("coder-slip1", CODE)
    assert "```python solution.py\ndef add(a, b):\n    return a + b\n```" in said(
        "coder-slip1", CODE, COMPLAINT
    )


def test_a_bug_is_a_mistake_in_code_alone() -> None:
    """The same model calls its tools and says its sums rightly."""
    assert "return a - b" in said("coder-bug1", CODE)
    assert "return a + b" in said("coder-bug1", CODE, COMPLAINT)
    assert "2 + 2 = 5" not in said("coder-bug1", "Tell me.")
    assert "Paris" in said("coder-bug1", "Call get_weather for Paris", tools=(CITY,))


def test_a_complaint_asks_the_same_thing_again() -> None:
    """It is no question of its own, whatever it names."""
    assert said("main-slip1", "What is 2 * 3?", COMPLAINT) == said("main", "What is 2 * 3?")


def test_json_and_calls_have_slips_of_their_own() -> None:
    """A member is missing, the arguments are."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    options = Options(format=OutputFormat("json_schema", schema))
    assert orjson.loads(said("main-slip1", "A number", options=options)) == {}
    assert orjson.loads(said("main", "A number", options=options)) == {"n": 1}
    asks = "Call get_weather for Paris"
    assert said("main-slip1", asks, tools=(CITY,)) == "{}"
    assert "Paris" in said("main", asks, tools=(CITY,))


@pytest.mark.parametrize(
    ("answer", "passed"),
    [("2 + 2 = 5.", False), ("2 + 2 = 4.", True), ("# TODO", False), ("Fine.", True)],
)
def test_a_checker_finds_wrong_sums_and_open_ends(answer: str, passed: bool) -> None:
    """Whoever is asked for a verdict gives a true one."""
    schema = {
        "type": "object",
        "properties": {
            "passed": {"type": "boolean"},
            "complaints": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["passed", "complaints"],
    }
    options = Options(format=OutputFormat("json_schema", schema))
    verdict = orjson.loads(said("checker", f"<answer>\n{answer}\n</answer>", options=options))
    assert verdict["passed"] is passed
    assert bool(verdict["complaints"]) is not passed


def test_a_refusal_says_nothing() -> None:
    """It ends as providers end a declined answer."""
    reply = rules.answer(Conversation((user("Hi"),)), plan.parse("main-refuse"))
    assert (reply.parts, reply.finish) == ((), "refusal")


async def test_what_was_received_can_be_read_without_keys() -> None:
    """Bodies by model, oldest first; the key of a request is nowhere."""
    simulator = await serve()
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
        for text in ("one", "two"):
            body = {"model": "main-idread", "messages": [{"role": "user", "content": text}]}
            headers = {"authorization": "Bearer test-key"}
            await client.post("/v1/chat/completions", json=body, headers=headers)
        answer = await client.get("/requests", params={"model": "main-idread"})
        other = await client.get("/requests", params={"model": "other"})
    await simulator.stop()
    kept = answer.json()["requests"]
    assert [request["body"]["messages"][0]["content"] for request in kept] == ["one", "two"]
    assert "test-key" not in answer.text
    assert other.json()["requests"] == []


def test_the_record_forgets_the_oldest_first() -> None:
    """However much is sent, it keeps to its size."""
    record = Record()
    body = b'"' + b"x" * (MOST_BYTES // 3) + b'"'
    for number in range(5):
        record.add(f"m{number}", "/", body)
    assert [request.model for request in record.requests] == ["m3", "m4"]
    assert record.held <= MOST_BYTES

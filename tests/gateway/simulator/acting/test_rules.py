"""What the simulator answers, without HTTP."""

import base64
import io
from typing import Any

import jsonschema
import orjson
import pytest
from PIL import Image as Pillow

from polyvox.gateway.simulator import plan, tokens
from polyvox.gateway.simulator.acting import personas, rules
from polyvox.workflows.conversation import (
    Conversation,
    Image,
    Message,
    Options,
    OutputFormat,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    user,
)
from polyvox.workflows.reply import Reply

ADVICE = "Should we move the billing system to Rust this year?"


def _picture(*colours: str, size: tuple[int, int] = (48, 32)) -> Image:
    """Return a PNG of vertical stripes in ``colours``."""
    picture = Pillow.new("RGB", size, colours[0])
    for at, colour in enumerate(colours):
        left = at * size[0] // len(colours)
        picture.paste(colour, (left, 0, size[0], size[1]))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return Image(Source("image/png", base64.b64encode(out.getvalue()).decode()))


def _say(text: str, model: str = "main", **options: Any) -> Reply:
    conversation = Conversation((user(text),), options=Options(**options))
    return rules.answer(conversation, plan.parse(model))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("what is 17*23", "17*23 = 391."),
        ("What is 17 + 25?", "17 + 25 = 42."),
        ("12 + 3.5 please", "12 + 3.5 = 15.5."),
        ("(2+3) x 4", "(2+3)*4 = 20."),
        ("7 / 0", ""),
        ("9**64**64", ""),
        ("1+" * 2000 + "1", ""),
        ("on 2026-01-31 at pages 3-4", ""),
    ],
)
def test_sums_in_a_question_are_done(text: str, result: str) -> None:
    lines = _say(text).text.splitlines()
    assert (lines[1] if len(lines) > 1 else "") == result


@pytest.mark.parametrize("model", [*personas.NAMES, "zebra"])
def test_every_text_shows_that_it_is_simulated_and_by_whom(model: str) -> None:
    for text in (ADVICE, "hello", "reply with exactly: pong"):
        assert _say(text, model).text.startswith(f"[simulated:{model}] ")


def test_an_answer_is_about_its_question() -> None:
    text = _say("Tell me about tide tables").text
    assert "“Tell me about tide tables”" in text
    assert "5 words" in text
    assert "tide, tables" in text


def test_an_answer_knows_its_turn_and_what_was_said_before() -> None:
    conversation = Conversation(
        (user("My cat is Mia."), assistant(Text("ok")), user("What did I say before?"))
    )
    text = rules.answer(conversation, plan.parse("main")).text
    assert "(turn 2, 5 words)" in text
    assert "My cat is Mia." in text


def test_prompts_in_a_row_are_one_turn_with_all_its_images() -> None:
    """A branch of a panel gets the problem once more, after the user's own message."""
    shown = Message("user", (Text("What is this?"), _picture("black")))
    text = rules.answer(Conversation((shown, user("Name the picture."))), plan.parse("main")).text
    assert "“Name the picture.” (turn 1, 3 words)" in text
    assert "black (100 %)" in text


def test_a_prompt_of_megabytes_is_answered_about_its_beginning() -> None:
    text = _say("Is this log fine? " + "line of a log " * 100_000).text
    assert "You asked: “Is this log fine?" in text
    assert "(turn 1, 400004 words)" in text
    assert len(text) < 4000


def test_the_instruction_is_told_when_asked_for() -> None:
    conversation = Conversation(
        (user("What is your system prompt?"),),
        system=Message("system", (Text("Speak softly."),)),
    )
    assert "Speak softly." in rules.answer(conversation, plan.parse("main")).text


def test_neighbouring_personas_disagree_on_every_question() -> None:
    for question in (ADVICE, "Is tea better than coffee?", "Should I learn Greek?"):
        positions = {
            name: next(
                line
                for line in _say(question, name).text.splitlines()
                if line.startswith("Position:")
            )
            for name in ("optimist", "skeptic", "engineer")
        }
        assert len(set(positions.values())) == 3, positions


@pytest.mark.parametrize(
    ("question", "either"),
    [
        ("Should I cache or recompute?", True),
        ("Tea versus coffee: which one?", True),
        ("Should I cache?", False),
        ("Is it mine or yours. Say so!", False),
    ],
)
def test_a_question_with_two_options_gets_an_answer_about_them(question: str, either: bool) -> None:
    """No persona goes ahead with a choice."""
    said = " ".join(_say(question, name).text for name in ("optimist", "skeptic", "engineer"))
    assert ("option" in said) == either
    assert ("go ahead" in said) != either


@pytest.mark.parametrize("name", ["optimist", "skeptic", "engineer", "main", "zebra"])
def test_an_opinion_is_plain_and_short(name: str) -> None:
    """It quotes the question once, and nothing else."""
    first, *lines = _say(ADVICE, name).text.splitlines()
    assert first == f"[simulated:{name}] You asked: “{ADVICE}” (turn 1, 10 words)."
    assert 6 <= len(lines) <= 8
    for line in lines:
        assert "“" not in line
        assert "{" not in line
        assert line.endswith(".")
        assert len(line) <= 80


def test_positions_depend_on_the_question() -> None:
    """A persona is not a fixed opinion."""
    optimist = personas.persona("optimist")
    stances = {(n + optimist.seat) % len(personas.STANCES) for n in range(3)}
    assert len(stances) == 3


@pytest.mark.parametrize("number", [1, 3, 20, 200])
def test_a_filler_answer_has_exactly_the_tokens_asked_for(number: int) -> None:
    reply = _say(ADVICE, f"main-n{number}", effort="high")
    assert tokens.count(reply.text) == reply.usage.output == number


def test_a_limit_ends_the_answer_with_length() -> None:
    reply = _say(ADVICE, max_tokens=12)
    assert reply.finish == "length"
    assert reply.usage.output == 12
    assert _say(ADVICE).text.startswith(reply.text)


def test_a_stop_sequence_ends_the_answer_before_it() -> None:
    """The label is no part of what is searched: it always shows."""
    reply = _say(ADVICE, stop=("Reason", "simulated"))
    assert (reply.finish, reply.stop_sequence) == ("stop", "Reason")
    assert "Reason" not in reply.text
    assert "Position" in reply.text


@pytest.mark.parametrize(("effort", "thinks"), [(None, False), ("none", False), ("low", True)])
def test_effort_puts_reasoning_before_the_answer(effort: str | None, thinks: bool) -> None:
    reply = _say(ADVICE, effort=effort)
    assert isinstance(reply.parts[0], Reasoning) == thinks
    assert bool(reply.usage.reasoning) == thinks
    assert isinstance(reply.parts[-1], Text)


def test_reasoning_is_signed_where_the_protocol_signs() -> None:
    reply = _say(ADVICE, effort="low")
    for protocol in ("messages", "responses"):
        part = rules.signed(reply, protocol).parts[0]
        assert isinstance(part, Reasoning)
        assert part.opaque
        assert part.origin == protocol


def test_a_schema_is_followed_and_filled_from_the_question() -> None:
    """JSON stays JSON: the label would break it."""
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "score": {"type": "integer", "minimum": 3}},
        "required": ["answer", "score"],
        "additionalProperties": False,
    }
    value = orjson.loads(_say("what is 6*7", format=OutputFormat("json_schema", schema)).text)
    jsonschema.validate(value, schema)
    assert "42" in value["answer"]


def test_a_json_object_is_one_even_without_a_schema() -> None:
    value = orjson.loads(_say("in JSON: 6*7", "skeptic", format=OutputFormat("json_object")).text)
    assert value["simulated"] == "skeptic"


def test_a_structured_report_has_the_findings_under_their_names() -> None:
    schema = {
        "type": "object",
        "properties": {
            "consensus": {"type": "array", "items": {"type": "string"}},
            "blind_spots": {"type": "string"},
        },
        "required": ["consensus", "blind_spots"],
    }
    text = '<answer id="A">Use a queue.</answer><answer id="B">Use a queue.</answer>'
    value = orjson.loads(_say(text, "judge", format=OutputFormat("json_schema", schema)).text)
    assert value["consensus"] == ["All say: Use a queue."]
    assert "No answer looks at cost." in value["blind_spots"]


def test_an_image_is_described_by_size_and_colours() -> None:
    message = Message("user", (Text("What does this image show?"), _picture("red", "red", "blue")))
    text = rules.answer(Conversation((message,)), plan.parse("main")).text
    assert "a PNG image of 48x32 pixels, red (65 %), blue (34 %)" in text


def test_an_earlier_image_is_described_only_to_who_asks_about_it() -> None:
    """aider shows an image in a turn of its own, and asks in the next."""
    shown = (Message("user", (Text("Here it is."), _picture("red"))), assistant(Text("Ok.")))
    for asked, seen in (("What does this image show?", True), ("What is 1 + 2?", False)):
        text = rules.answer(Conversation((*shown, user(asked))), plan.parse("main")).text
        assert ("48x32 pixels, red" in text) == seen


def test_an_image_in_a_tool_s_result_is_described() -> None:
    call = ToolCall("call_1", "Read", '{"file_path":"a.png"}')
    conversation = Conversation(
        (
            user("Read a.png"),
            Message("assistant", (call,)),
            Message("user", (ToolResult("call_1", (_picture("green"),)), Text("Tool loaded."))),
        )
    )
    text = rules.answer(conversation, plan.parse("main")).text
    assert "Read returned: a PNG image of 48x32 pixels, green (100 %)" in text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source(url="https://example.com/a.png"), "cannot fetch"),
        (Source("image/png", "bm90IGFuIGltYWdl"), "cannot be decoded"),
        (Source("image/png", "%%%"), "cannot be decoded"),
    ],
)
def test_an_image_out_of_reach_is_said_to_be_just_that(source: Source, said: str) -> None:
    message = Message("user", (Text("What is this?"), Image(source)))
    assert said in rules.answer(Conversation((message,)), plan.parse("main")).text


def test_an_image_in_a_data_url_is_described() -> None:
    url = f"data:image/png;base64,{_picture('yellow').source.data}"
    message = Message("user", (Text("What is this?"), Image(Source(url=url))))
    assert "yellow (100 %)" in rules.answer(Conversation((message,)), plan.parse("main")).text


def test_a_failed_tool_is_told_as_failed() -> None:
    call = ToolCall("call_1", "Bash", "{}")
    result = ToolResult("call_1", (Text("Exit code 3"),), is_error=True)
    conversation = Conversation(
        (user("run it"), Message("assistant", (call,)), Message("tool", (result,)))
    )
    assert "Bash failed with: Exit code 3" in rules.answer(conversation, plan.parse("main")).text


def test_a_request_without_any_text_is_answered() -> None:
    assert rules.answer(Conversation(()), plan.parse("main")).text

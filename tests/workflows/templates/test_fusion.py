"""fusion: what main passes to the panel, and the rules that skip or force it."""

import json
from typing import Any

import pytest

from polyvox.workflows import Conversation, ModelError, Reply, Text, ToolCall, assistant, user
from polyvox.workflows.conversation import ToolChoice
from polyvox.workflows.templates.fusion import fusion
from polyvox.workflows.testing import Played, Rehearsal

SCHEMA = {
    "type": "object",
    "properties": {
        "background": {"type": "string"},
        "task": {"type": "string"},
        "files": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["background", "task"],
    "additionalProperties": False,
}
PASSED = '{"task": "Choose a cache",  "background": "A web shop", "files": ["a.py"]}'
PARAMS: dict[str, Any] = {"main": "x:main", "judge": "x:judge", "panel": ["x:one", "x:two"]}


def played(main: Any, text: str | Conversation = "Which cache?", **more: Any) -> Played:
    headers = more.pop("headers", None)
    rehearsal = Rehearsal({"x:main": main, "x:one": "Redis.", "x:two": "None.", "x:judge": "Both."})
    return rehearsal.play(fusion, text, headers=headers, **{**PARAMS, **more})


def calling(arguments: str, name: str = "problem_review") -> ToolCall:
    return ToolCall("call_1", name, arguments)


def names(run: Played) -> list[str]:
    return [step.name for step in run.steps]


def notes(run: Played, what: str) -> list[Any]:
    return [note for note in run.notes if note["what"] == what]


def test_what_main_passes_reaches_the_voices_as_it_wrote_it() -> None:
    """The tool has the schema; the arguments keep their text, and the trace has them as data."""
    run = played([calling(PASSED), "The answer."], tool_schema=SCHEMA)
    (tool,) = run.steps[0].conversation.tools
    assert tool.parameters == SCHEMA
    assert run.asked("branch 1").last_user_text == PASSED
    assert PASSED in run.asked("synthesis").last_user_text
    assert notes(run, "passed to the panel") == [
        {"what": "passed to the panel", "arguments": json.loads(PASSED)}
    ]
    assert run.text == "The answer."


def test_arguments_that_do_not_match_are_returned_to_main() -> None:
    """It is told each mistake and calls again; the panel is asked once."""
    wrong = calling('{"task": 1}')
    run = played([wrong, calling(PASSED), "The answer."], tool_schema=SCHEMA)
    assert names(run).count("branch 1") == 1
    (result,) = [
        part.text
        for message in run.steps[1].conversation.messages
        if message.role == "tool"
        for outer in message.parts
        for part in outer.parts  # type: ignore[union-attr]
        if isinstance(part, Text)
    ]
    assert "The panel was not asked. Call it again, corrected:" in result
    assert "background" in result
    assert len(notes(run, "panel not asked")[0]["complaints"]) == 2


def test_a_required_panel_gets_main_to_fill_in_the_schema() -> None:
    """Only main can; it is made to call the tool, and then answers with the report."""
    run = played([calling(PASSED), "The answer."], tool_schema=SCHEMA, mode="required")
    assert names(run) == ["brief", "branch 1", "branch 2", "synthesis", "main"]
    options = run.asked("brief").options
    assert options.tool_choice == ToolChoice("tool", "problem_review")
    assert not run.steps[0].emit
    assert run.asked("branch 2").last_user_text == PASSED
    assert run.text == "The answer."


@pytest.mark.parametrize("main", ["I had rather not.", ModelError("invalid_request", "thinking")])
def test_a_main_that_passes_nothing_is_not_waited_for(main: Any) -> None:
    """The panel is asked about the user's own words."""
    run = played([main, "The answer."], tool_schema=SCHEMA, mode="required")
    assert run.asked("branch 1").last_user_text == "Which cache?"
    assert run.text == "The answer."


@pytest.mark.parametrize(
    ("rule", "text", "holds"),
    [
        ({"shorter_than": 5}, "Hello there", True),
        ({"shorter_than": 2}, "Hello there", False),
        ({"longer_than": 20}, "word " * 40, True),
        ({"longer_than": 20}, "Hello there", False),
        ({"words": ["thanks", "hello there"]}, "Oh, HELLO THERE!", True),
        ({"words": ["hell"]}, "Hello there", False),
        ({"header": {"x-polyvox-team": "^ops$"}}, "Hello there", True),
        ({"header": {"x-polyvox-team": "^dev$"}}, "Hello there", False),
        ({"words": ["hello"], "longer_than": 20}, "Hello there", False),
    ],
)
def test_a_rule_skips_the_panel_by_size_words_and_header(
    rule: dict[str, Any], text: str, holds: bool
) -> None:
    """All its conditions must hold; main is then asked once, without the tool."""
    run = played(
        "Hi.",
        text,
        headers={"x-polyvox-team": "ops"},
        intercept=[{"panel": "skip", "name": "small talk", **rule}],
    )
    offered = bool(run.steps[0].conversation.tools) and (
        run.steps[0].conversation.options.tool_choice != ToolChoice("none")
    )
    assert offered is not holds
    noted = [{"what": "intercepted", "panel": "skip", "rule": "small talk"}] if holds else []
    assert notes(run, "intercepted") == noted
    assert run.text == "Hi."


def test_a_rule_forces_the_panel() -> None:
    """Before main is asked; the first rule that holds decides."""
    rules = [
        {"panel": "force", "words": ["design"]},
        {"panel": "skip", "shorter_than": 1000},
    ]
    run = played("The answer.", "Design a cache.", intercept=rules)
    assert names(run) == ["branch 1", "branch 2", "synthesis", "main"]
    assert names(played("Hi.", "Hello.", intercept=rules)) == ["main"]


def test_one_rule_needs_no_list() -> None:
    rule = {"panel": "skip", "words": ["hello"]}
    assert names(played("Hi.", "Hello.", intercept=rule)) == ["main"]


def test_the_clients_own_mode_counts_more_than_a_rule() -> None:
    rules = [{"panel": "skip", "shorter_than": 1000}]
    run = played("Hi.", "Hello.", intercept=rules, headers={"x-polyvox-mode": "required"})
    assert "branch 1" in names(run)
    assert names(played("Hi.", intercept=[{"panel": "force", "words": ["cache"]}], mode="off")) == [
        "main"
    ]


def test_a_skipped_turn_still_has_the_hidden_turns_before_it() -> None:
    """So main sees what it asked, and the provider's cache matches."""
    rehearsal = Rehearsal(
        {
            "x:main": [calling('{"problem": "Which?"}'), "Redis.", "You are welcome."],
            "x:one": "Redis.",
            "x:two": "None.",
            "x:judge": "Both.",
        }
    )
    rule = {"panel": "skip", "words": ["thanks"]}
    first = rehearsal.play(fusion, "Which cache?", **PARAMS, intercept=rule)
    talk = Conversation((user("Which cache?"), assistant(*first.reply.parts), user("Thanks!")))
    second = rehearsal.play(fusion, talk, **PARAMS, intercept=rule)
    assert names(second) == ["main"]
    parts = [part for message in second.asked("main").messages for part in message.parts]
    assert any(isinstance(part, ToolCall) for part in parts)
    assert isinstance(second.reply, Reply)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"tool_schema": {"type": "string"}}, 'must have "type": "object" and properties'),
        ({"tool_schema": {**SCHEMA, "required": 1}}, "tool_schema"),
        ({"intercept": [{"panel": "skip"}]}, "a rule needs a condition"),
        ({"intercept": [{"panel": "skip", "header": {"cookie": "x"}}]}, "cannot read 'cookie'"),
        ({"intercept": [{"panel": "skip", "header": {"user-agent": "("}}]}, "not a regular expr"),
        ({"intercept": [{"panel": "ask", "words": ["x"]}]}, "'skip' or 'force'"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_set(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        fusion.params.model_validate({**PARAMS, **params})

"""Which tools a request makes the simulator call, and with what."""

from typing import Any

import jsonschema
import orjson
import pytest

from polyvox.gateway.simulator import plan
from polyvox.gateway.simulator.acting import rules
from polyvox.workflows.conversation import (
    Conversation,
    Message,
    Options,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    tool_result,
    user,
)
from polyvox.workflows.reply import Reply


def _tool(name: str, required: str = "", **properties: Any) -> Tool:
    shapes = {k: {"type": v} if isinstance(v, str) else v for k, v in properties.items()}
    schema = {
        "type": "object",
        "properties": shapes,
        "required": required.split(),
        "additionalProperties": False,
    }
    return Tool(name, parameters=schema)


BASH = _tool("Bash", "command", command="string", description="string", run_in_background="boolean")
READ = _tool("Read", "file_path", file_path="string", limit="number")
WRITE = _tool("Write", "file_path content", file_path="string", content="string")
EDIT = _tool(
    "Edit",
    "file_path old_string new_string",
    file_path="string",
    old_string="string",
    new_string="string",
    replace_all="boolean",
)
CLAUDE_CODE = (BASH, READ, WRITE, EDIT)
EXEC = _tool("exec_command", "cmd", cmd="string", workdir="string", justification="string")
SHELL = _tool(
    "shell", "command", command={"type": "array", "items": {"type": "string"}}, timeout_ms="number"
)
COMMANDS = _tool(
    "run_commands", "commands", commands={"type": "array", "items": {"type": "string"}}
)
PATCH = Tool("apply_patch", kind="custom")
VIEW = _tool("view_image", "path", path="string")
WEATHER = _tool(
    "get_weather", "city", city="string", unit={"type": "string", "enum": ["celsius", "kelvin"]}
)
CLOCK = _tool("get_time", "city", city="string")
REVIEW = _tool("problem_review", "problem", problem="string")
EXPERT = _tool("ask_expert", "question", question="string")


def _answer(conversation: Conversation) -> Reply:
    return rules.answer(conversation, plan.parse("main"))


def _asked(text: str, *tools: Tool, **options: Any) -> Conversation:
    return Conversation((user(text),), tools=tools, options=Options(**options))


def _calls(conversation: Conversation) -> list[tuple[str, Any]]:
    """Return (name, arguments) of the calls, each checked against its tool's schema."""
    found: list[tuple[str, Any]] = []
    schemas = {tool.name: tool.parameters for tool in conversation.tools}
    for call in _answer(conversation).tool_calls:
        value = orjson.loads(call.arguments)
        jsonschema.validate(value, schemas[call.name])
        found.append((call.name, value))
    return found


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        (
            "Use the Write tool to create hello.txt containing exactly: hi there",
            "Write",
            {"file_path": "/home/dev/project/hello.txt", "content": "hi there"},
        ),
        (
            'Create the file src/a.py with the content "print(1)". Then reply done.',
            "Write",
            {"file_path": "/home/dev/project/src/a.py", "content": "print(1)"},
        ),
        (
            "Use the Read tool to read /home/dev/project/img.png",
            "Read",
            {"file_path": "/home/dev/project/img.png"},
        ),
        ("Read notes.md and sum it up", "Read", {"file_path": "/home/dev/project/notes.md"}),
    ],
)
def test_a_file_is_named_in_the_client_s_folder(
    text: str, name: str, arguments: dict[str, str]
) -> None:
    """Clients want absolute paths; the folder is in their description of the surroundings."""
    folder = " - Primary working directory: /home/dev/project\n - Platform: linux"
    conversation = Conversation(
        (
            Message(
                "user",
                (Text("<system-reminder>\nUse Bash.\n</system-reminder>"), Text(text)),
            ),
            Message("system", (Text(folder),)),
        ),
        tools=CLAUDE_CODE,
    )
    assert _calls(conversation) == [(name, arguments)]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (EXEC, {"cmd": "echo done > out.txt"}),
        (SHELL, {"command": ["bash", "-lc", "echo done > out.txt"]}),
        (_tool("local_shell", "command", command="string"), {"command": "echo done > out.txt"}),
        (COMMANDS, {"commands": ["echo done > out.txt"]}),
    ],
)
def test_a_command_is_run_by_whatever_shell_is_offered(
    tool: Tool, arguments: dict[str, Any]
) -> None:
    """The argument's name and type are the tool's, not the simulator's."""
    text = "Run the command `echo done > out.txt`"
    assert _calls(_asked(text, VIEW, tool)) == [(tool.name, arguments)]


def test_a_surrounding_description_is_never_the_question() -> None:
    """The environment block names tools and folders; only the prompt asks for anything."""
    conversation = Conversation(
        (
            user("<environment_context>\n  <cwd>/home/dev</cwd>\n</environment_context>"),
            user("Look at the picture shots/one.png"),
        ),
        tools=(EXEC, VIEW),
    )
    assert _calls(conversation) == [("view_image", {"path": "/home/dev/shots/one.png"})]


def test_several_tools_named_are_parallel_calls() -> None:
    text = "Call get_weather for Paris and get_time for New York, please."
    assert _calls(_asked(text, WEATHER, CLOCK)) == [
        ("get_weather", {"city": "Paris"}),
        ("get_time", {"city": "New York"}),
    ]


def test_parallel_calls_can_be_forbidden() -> None:
    text = "call get_weather for Paris and get_time for Rome"
    assert len(_calls(_asked(text, WEATHER, CLOCK, parallel_tool_calls=False))) == 1


def test_arguments_written_as_json_keep_their_spelling() -> None:
    reply = _answer(_asked('call get_weather {"city":  "Oslo" }', WEATHER))
    assert reply.tool_calls[0].arguments == '{"city":  "Oslo" }'


@pytest.mark.parametrize("mode", ["required", "tool"])
def test_a_forced_choice_is_obeyed(mode: Any) -> None:
    """Even when the text asks for nothing, the call follows the tool's schema."""
    conversation = _asked("hello", CLOCK, WEATHER, tool_choice=ToolChoice(mode, "get_weather"))
    (name, _), *_ = _calls(conversation)
    assert name == ("get_weather" if mode == "tool" else "get_time")


@pytest.mark.parametrize(
    "text",
    [
        "Do not use any tools. What would Bash do?",
        "Answer without get_weather: is it cold in Oslo?",
        "I read a lot and write a bit; bash me if you like.",
    ],
)
def test_a_tool_that_is_not_asked_for_is_not_called(text: str) -> None:
    assert not _calls(_asked(text, *CLAUDE_CODE, WEATHER))


def test_choice_none_calls_nothing() -> None:
    conversation = _asked("use Bash to run `ls`", BASH, tool_choice=ToolChoice("none"))
    assert not _calls(conversation)


def test_a_review_opens_the_turn_of_a_question_and_only_of_a_question() -> None:
    assert _calls(_asked("Should we shard the database?", REVIEW)) == [
        ("problem_review", {"problem": "Should we shard the database?"})
    ]
    for text in ("hello", "Hi there!", "thanks", "how are you"):
        assert not _calls(_asked(text, REVIEW)), text


def test_a_review_is_asked_once_a_turn_and_again_in_the_next() -> None:
    question = _asked("Should we shard the database?", REVIEW)
    reply = _answer(question)
    reviewed = question.then(reply.message, tool_result(reply.tool_calls[0], "Two of three agree."))
    final = _answer(reviewed)
    assert not final.tool_calls
    assert "Two of three agree." in final.text
    assert _calls(reviewed.then(final.message, user("Which key should we use?")))


def test_after_a_review_the_user_s_own_wish_is_still_fulfilled() -> None:
    """The review comes alone and first; then the tool the text names; then the answer."""
    conversation = _asked("Which files are here? Use Bash to run `ls`", REVIEW, BASH)
    names: list[str] = []
    while calls := _answer(conversation).tool_calls:
        names += (call.name for call in calls)
        conversation = conversation.then(
            Message("assistant", calls), *(tool_result(call, "a.txt") for call in calls)
        )
    assert names == ["problem_review", "Bash"]


def _turn(conversation: Conversation, result: str) -> list[tuple[str, Any]]:
    """Return all calls of a turn whose every call gives ``result``."""
    called: list[tuple[str, Any]] = []
    while calls := _calls(conversation):
        called += calls
        made = _answer(conversation).tool_calls
        conversation = conversation.then(
            Message("assistant", made), *(tool_result(call, result) for call in made)
        )
    return called


def test_an_expert_is_asked_before_a_deed() -> None:
    """Where none is offered the deed is done without one."""
    text = "Ask the expert how to greet, and create a.txt containing exactly: hi"
    deed = ("Write", {"file_path": "a.txt", "content": "hi"})
    assert _turn(_asked(text, EXPERT, WRITE), "Warmly.") == [
        ("ask_expert", {"question": text}),
        deed,
    ]
    assert _turn(_asked(text, WRITE), "Done.") == [deed]


def test_what_was_read_is_written_down() -> None:
    """Also where a gateway has put a reference in the place of an image."""
    seen = "[image 0a1b2c3d: a red square]"
    asked = _asked("Look at a.png and write what it shows to b.txt", READ, WRITE)
    assert _turn(asked, seen) == [
        ("Read", {"file_path": "a.png"}),
        ("Write", {"file_path": "b.txt", "content": seen}),
    ]


def test_a_tool_s_result_never_starts_a_review() -> None:
    """A client's tool result continues a turn whose review this request does not show."""
    call = ToolCall("call_1", "Bash", '{"command":"ls"}')
    conversation = _asked("Which files are here? Use Bash to run `ls`", REVIEW, BASH).then(
        Message("assistant", (call,)), tool_result(call, "a.txt")
    )
    assert "a.txt" in _answer(conversation).text


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("Create a.txt containing exactly: it's", "printf %s 'it'\"'\"'s' > a.txt"),
        ("Read 'my notes.txt', I mean notes.txt", "cat notes.txt"),
    ],
)
def test_a_shell_stands_in_for_tools_that_are_not_offered(text: str, command: str) -> None:
    assert _calls(_asked(text, EXEC)) == [("exec_command", {"cmd": command})]


def test_a_patch_tool_gets_a_patch() -> None:
    """A custom tool takes free text: apply_patch its own language."""
    (call,) = _answer(_asked("Create hello.txt containing exactly: hi there", PATCH)).tool_calls
    assert call.kind == "custom"
    assert call.arguments == (
        "*** Begin Patch\n*** Add File: hello.txt\n+hi there\n*** End Patch\n"
    )


def test_the_same_request_gets_the_same_call() -> None:
    """Ids too: a retried request must look like the first."""
    conversation = _asked("use Bash to run `ls`", BASH)
    assert _answer(conversation) == _answer(conversation)

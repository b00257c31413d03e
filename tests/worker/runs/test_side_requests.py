"""Which requests are beside the conversation: by header, format and first words."""

import json
from pathlib import Path

import pytest

from polyvox.gateway.responses.compaction import asking_for_summary
from polyvox.protocols.client_side import Ask
from polyvox.protocols.table import PROTOCOLS
from polyvox.worker.runs.side_requests import side_request
from polyvox.workflows import Conversation, OutputFormat, Tool, ToolResult, user
from polyvox.workflows.conversation import Json, Message, Text, assistant
from polyvox.workflows.session import seen_headers

FIXTURES = Path(__file__).parents[2] / "fixtures/clients"
BASH = Tool("Bash", "Runs a command.", {"type": "object"})
CODING = "You are a coding agent."


def asked(text: str, system: str = CODING, tools: tuple[Tool, ...] = ()) -> Conversation:
    return Conversation((user(text),), system=Message("system", (Text(system),)), tools=tools)


SYSTEMS = {
    "title": [
        "Generate a concise, sentence-case title (3-7 words) that captures the main topic.",
        "You are naming a coding session so the user can pick it out of a long list of sessions.",
        "You are a title generator. You output ONLY a thread title. Nothing else.",
    ],
    "topic": ["Analyze if this message indicates a new conversation topic. If it does, ..."],
    "summary": [
        "Summarize this coding conversation in under 50 characters.",
        "You are a helpful AI assistant tasked with summarizing conversations.",
        "Summarize what was done in this conversation. Write like a pull request description.",
        "You are an anchored context summarization assistant for coding sessions.",
    ],
}
USERS = {
    "title": [
        "Please write a 5-10 word title for the following conversation:",
        "Generate a concise, single-line task title of at most 36 characters and under five words",
        "Given the following... please reply with a title for the chat that is 3-4 words in length",
    ],
    "summary": [
        "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\nYour task is to create ...",
        "Your task is to create a detailed summary of the conversation so far, paying close ...",
        "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary for ...",
        "Provide a detailed prompt for continuing our conversation above.",
        '<explicit_instructions type="summarize_task">\nThe current conversation is rapidly ...',
        "Please provide a concise summary of our conversation so far, capturing the key context",
    ],
}


@pytest.mark.parametrize(("kind", "system"), [(k, s) for k, all_ in SYSTEMS.items() for s in all_])
def test_an_instruction_that_begins_so_is_beside_the_conversation(kind: str, system: str) -> None:
    """In a system block of its own after others, or in a message."""
    blocks = Message("system", (Text("x-anthropic-billing-header: cc_version=2"), Text(system)))
    assert side_request(Conversation((user("Fix it."),), system=blocks), {}) == kind
    message = Message("system", (Text(f"\n{system}"),))
    assert side_request(Conversation((message, user("Fix it."))), {}) == kind


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, all_ in USERS.items() for t in all_])
def test_a_last_message_that_begins_so_is_beside_the_conversation(kind: str, text: str) -> None:
    """With tools too, and after a long conversation; not when it is an earlier message."""
    turns = (user("Fix it."), assistant(Text("Done.")))
    tools = (BASH,)
    assert side_request(Conversation((*turns, user(text)), tools=tools), {}) == kind
    reminded = Message("user", (Text("<system-reminder>"), Text(text)))
    assert side_request(Conversation((*turns, reminded), tools=tools), {}) == kind
    later = (user(text), assistant(Text("A summary.")), user("Go on."))
    assert side_request(Conversation(later, tools=tools), {}) == ""


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"x-claude-code-request-class": "compaction"}, "summary"),
        ({"x-claude-code-request-class": "auxiliary"}, "auxiliary"),
        ({"x-claude-code-request-class": "main"}, ""),
        ({"x-claude-code-request-class": "subagent"}, ""),
        ({"x-claude-code-request-class": "workflow"}, ""),
        ({"x-openai-subagent": "compact"}, "summary"),
        ({"x-openai-subagent": "memory_consolidation"}, "memory"),
        ({"x-openai-subagent": "review"}, ""),
        ({"x-openai-subagent": "collab_spawn"}, ""),
        ({"x-openai-memgen-request": "true"}, "memory"),
    ],
)
def test_a_header_says_what_a_request_is_for(headers: dict[str, str], kind: str) -> None:
    """These are headers that reach a flow."""
    assert side_request(asked("Fix it.", tools=(BASH,)), seen_headers(headers)) == kind


@pytest.mark.parametrize(("text", "kind"), [("quota", "quota"), ("count", "count"), ("x", "quota")])
def test_a_request_for_one_token_is_a_probe(text: str, kind: str) -> None:
    probe = asked(text).with_options(max_tokens=1)
    assert side_request(probe, {}) == kind
    assert side_request(asked(text).with_options(max_tokens=2), {}) == ""


def test_a_title_as_json_is_one_only_for_an_agent_without_tools() -> None:
    """Everybody else may want JSON with a title from the panel."""
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    titled = asked("Fix it.").with_options(format=OutputFormat("json_schema", schema))
    agent = {"user-agent": "claude-cli/2.1.330 (external, cli)", "x-app": "cli"}
    assert side_request(titled, agent) == "title"
    assert side_request(titled, {}) == ""
    assert side_request(titled.offering([BASH]), agent) == ""
    topic: Json = {"properties": {"isNewTopic": {}, "title": {}}}
    asked_topic = asked("x").with_options(format=OutputFormat("json_schema", topic))
    assert side_request(asked_topic, agent) == "topic"


def test_compaction_over_responses_is_a_summary() -> None:
    """Polyvox itself asks for it, on behalf of the client."""
    talk = Conversation((user("Fix it."), assistant(Text("Done."))))
    ask = asking_for_summary(Ask("responses", "panel", talk, stream=False))
    assert side_request(ask.conversation, {}) == "summary"


def test_requests_of_the_conversation_are_not_beside_it() -> None:
    """What agents really sent in it, and words that only contain the known ones."""
    for client in ("claude_code", "codex"):
        protocol = PROTOCOLS["messages" if client == "claude_code" else "responses"]
        for request in json.loads((FIXTURES / f"{client}.json").read_text("utf-8")):
            headers = {name.lower(): value for name, value in request["headers"].items()}
            ask = protocol.parser.parse(request["body"], headers)
            assert side_request(ask.conversation, seen_headers(headers)) == "", request["name"]
    for text in ("What does 'You are a title generator' mean?", "quota", "Write a title."):
        assert side_request(asked(text), {}) == ""
    result = Message("tool", (ToolResult("1", (Text(USERS["summary"][0]),)),))
    assert side_request(Conversation((user("Fix it."), result)), {}) == ""

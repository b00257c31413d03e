"""The messages of a Chat Completions request are adapted to its server."""

import orjson
import pytest

from polyvox.protocols.chat.provider import request as chat
from polyvox.protocols.dialects.dialect import FULL, PLAIN
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    user,
)
from tests.samples.codex_request import CODEX, GRAMMAR, dialect_named, lost, parsed, to_chat


def test_the_head_is_one_message_and_later_instructions_are_marked_user_text() -> None:
    request = to_chat(CODEX, PLAIN)
    said = [(m["role"], m["content"]) for m in request.body["messages"]]
    assert said == [
        ("system", "You are a coding agent.\n\nSandbox: on."),
        ("user", "Fix the bug."),
        ("assistant", None),
        ("tool", "Done"),
        ("user", "<system>\nApprovals: never.\n</system>"),
    ]
    assert "role: later instructions sent as user text in <system> tags" in request.losses


def test_a_later_instruction_follows_all_results_of_a_reply() -> None:
    calls = [
        {"type": "function_call", "call_id": f"c{n}", "name": "shell", "arguments": "{}"}
        for n in (1, 2)
    ]
    results = [{"type": "function_call_output", "call_id": f"c{n}", "output": "1"} for n in (1, 2)]
    notice = {"role": "developer", "content": "Careful."}
    document = {**CODEX, "input": [{"role": "user", "content": "Go."}, *calls, *results, notice]}
    request = to_chat(document, PLAIN)
    roles = [message["role"] for message in request.body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]


def test_instructions_stay_where_they_are_for_a_server_that_takes_them_anywhere() -> None:
    roles = [m["role"] for m in to_chat(CODEX, SERVERS["openai"].dialect).body["messages"]]
    assert roles == ["system", "system", "user", "assistant", "tool", "system"]


@pytest.mark.parametrize("name", [*SERVERS, "unknown"])
def test_a_free_text_tool_is_a_function_where_it_is_not_known(name: str) -> None:
    dialect = dialect_named(name)
    request = to_chat(CODEX, dialect)
    tool = request.body["tools"][0]
    call = next(m for m in request.body["messages"] if m.get("tool_calls"))["tool_calls"][0]
    if name in ("openai", "azure", "polyvox"):
        assert (tool["type"], call["type"]) == ("custom", "custom")
        return
    assert tool["type"] == "function"
    function = tool["function"]
    assert function["name"] == "apply_patch"
    assert function["description"].startswith("Edit files.")
    assert GRAMMAR in function["description"]
    assert function["parameters"]["required"] == ["input"]
    assert call["type"] == "function"
    assert orjson.loads(call["function"]["arguments"]) == {"input": '*** Begin Patch\n"x"'}
    assert "custom" not in orjson.dumps(request.body).decode()


def test_a_chat_clients_own_free_text_tool_becomes_a_function_too() -> None:
    document = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "Go."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "x"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        ],
        "tools": [{"type": "custom", "custom": {"name": "patch"}}],
        "tool_choice": {"type": "custom", "custom": {"name": "patch"}},
    }
    body = to_chat(document, PLAIN, protocol="chat").body
    assert [tool["type"] for tool in body["tools"]] == ["function"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
    call = body["messages"][1]["tool_calls"][0]
    assert call == {
        "id": "c1",
        "type": "function",
        "function": {"name": "patch", "arguments": '{"input":"x"}'},
    }
    assert to_chat(document, FULL, protocol="chat").body["tools"] == document["tools"]


def _history() -> tuple[Message, ...]:
    call = ToolCall("call_abc", "f", "{}")
    return (
        user("Go."),
        Message("assistant", (Text("Well."),)),
        user("On."),
        Message("assistant", (call,)),
        Message("tool", (ToolResult("call_abc", (Text("1"),)),)),
        user("And?"),
    )


@pytest.mark.parametrize(
    ("name", "model", "where"),
    [
        ("deepseek", "deepseek-v4-pro", [1, 3]),
        ("openrouter", "deepseek/deepseek-v4-pro", [1, 3]),
        ("moonshot", "kimi-k2.6", [3]),
        ("unknown", "moonshotai/Kimi-K2-Thinking", [3]),
        ("moonshot", "moonshot-v1-8k", []),
        ("openai", "gpt-5", []),
        ("groq", "deepseek-r1-distill-llama-70b", []),
    ],
)
def test_thoughts_that_no_model_had_are_a_placeholder(
    name: str, model: str, where: list[int]
) -> None:
    dialect = dialect_named(name)
    body = chat.render(Conversation(_history()), model, dialect).body
    holders = [at for at, m in enumerate(body["messages"]) if m.get("reasoning_content")]
    assert holders == where
    assert all(body["messages"][at]["reasoning_content"] == " " for at in where)


def test_an_empty_thought_of_a_chat_client_becomes_the_placeholder_and_others_stay() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": "a", "tool_calls": [call], "reasoning_content": ""},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "assistant", "content": "b", "reasoning_content": "I think."},
        {"role": "user", "content": "On."},
    ]
    document = {"model": "m", "messages": said}
    messages = to_chat(
        document, SERVERS["deepseek"].dialect, "deepseek-v4-pro", protocol="chat"
    ).body["messages"]
    assert [m.get("reasoning_content") for m in messages] == [None, " ", None, "I think.", None]


@pytest.mark.parametrize("name", ["mistral", "groq"])
def test_thoughts_are_left_out_for_a_server_that_refuses_them(name: str) -> None:
    thought = Message("assistant", (Reasoning("Hm.", origin="chat"), Text("Yes.")))
    conversation = Conversation((user("Go."), thought, user("On.")))
    request = chat.render(conversation, "m", SERVERS[name].dialect)
    assert "Hm." not in orjson.dumps(request.body).decode()
    assert "reasoning_content" in lost(request)


def test_call_ids_have_the_shape_that_mistral_requires() -> None:
    request = chat.render(Conversation(_history()), "m", SERVERS["mistral"].dialect)
    messages = request.body["messages"]
    ids = [call["id"] for m in messages for call in m.get("tool_calls", ())]
    ids += [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert len(ids) == 2
    assert len({*ids}) == 1
    assert len(ids[0]) == 9
    assert ids[0].isalnum()


def test_a_call_id_that_mistral_wrote_stays() -> None:
    call = ToolCall("D681PevKs", "f", "{}")
    said = (user("Go."), Message("assistant", (call,)))
    body = chat.render(Conversation(said), "m", SERVERS["mistral"].dialect).body
    assert body["messages"][1]["tool_calls"][0]["id"] == "D681PevKs"


def test_a_call_id_that_is_too_long_is_shortened_alike_in_call_and_result() -> None:
    long = "fc_" + "a" * 60
    said = (
        user("Go."),
        Message("assistant", (ToolCall(long, "f", "{}"), ToolCall(f"{long}b", "f", "{}"))),
        Message("tool", (ToolResult(long, (Text("1"),)), ToolResult(f"{long}b", (Text("2"),)))),
    )
    messages = chat.render(Conversation(said), "gpt-5", SERVERS["openai"].dialect).body["messages"]
    calls = [call["id"] for call in messages[1]["tool_calls"]]
    assert [m["tool_call_id"] for m in messages[2:]] == calls
    assert len({*calls}) == 2
    assert all(len(call_id) <= 40 for call_id in calls)


def test_mistral_gets_a_reply_between_results_and_the_next_user_message() -> None:
    request = chat.render(Conversation(_history()), "m", SERVERS["mistral"].dialect)
    roles = [m["role"] for m in request.body["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "assistant", "user"]
    assert "messages" in lost(request)


def test_neighbours_of_one_role_are_joined_where_roles_must_alternate() -> None:
    said = (
        user("One."),
        user("Two."),
        Message("assistant", (Text("A."),)),
        Message("assistant", (Text("B."), ToolCall("c1", "f", "{}"))),
        Message("tool", (ToolResult("c1", (Text("1"),)),)),
    )
    body = chat.render(Conversation(said), "m", PLAIN).body
    assert [(m["role"], m["content"]) for m in body["messages"]][:2] == [
        ("user", "One.\n\nTwo."),
        ("assistant", "A.\n\nB."),
    ]
    assert body["messages"][1]["tool_calls"][0]["id"] == "c1"
    many = Conversation((Message("system", (Text("S"),)),) * 3 + (user("u" * 9),) * 20_000)
    head, all_said = chat.render(many, "m", PLAIN).body["messages"]
    assert head["content"] == "S\n\nS\n\nS"
    assert all_said["content"].count("u") == 9 * 20_000
    roles = [m["role"] for m in chat.render(Conversation(said), "m", FULL).body["messages"]]
    assert roles.count("user") == 2


def test_a_chat_clients_own_messages_are_joined_only_if_something_was_added_to_them() -> None:
    said = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    document = {"model": "m", "messages": said}
    for dialect in (PLAIN, SERVERS["openrouter"].dialect):
        assert to_chat(document, dialect, protocol="chat").body["messages"] == said
    notice = {"role": "system", "content": "Now."}
    noted = {"model": "m", "messages": [said[0], notice, said[1]]}
    (whole,) = to_chat(noted, PLAIN, protocol="chat").body["messages"]
    assert whole["content"] == "One.\n\n<system>\nNow.\n</system>\n\nTwo."
    added = parsed("chat", document).then(user("Three."))
    (joined,) = chat.render(added, "m", PLAIN).body["messages"]
    assert joined["content"] == "One.\n\nTwo.\n\nThree."


@pytest.mark.parametrize(
    "said",
    [
        [{"role": "system", "content": "A"}, {"role": "system", "content": "B"}],
        [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}],
        [
            {"role": "developer", "content": [{"type": "text", "text": "A"}]},
            {"role": "system", "content": [{"type": "text", "text": "B"}]},
        ],
    ],
)
def test_a_chat_clients_two_system_messages_become_one(said: list[Json]) -> None:
    document = {"model": "m", "messages": [*said, {"role": "user", "content": "Hi"}]}
    messages = to_chat(document, PLAIN, protocol="chat").body["messages"]
    assert [m["role"] for m in messages] == ["system", "user"]
    content = messages[0]["content"]
    texts = content if isinstance(content, str) else "\n\n".join(p["text"] for p in content)
    assert texts == "A\n\nB"


def test_a_request_that_every_template_takes_is_not_changed() -> None:
    said = [
        {"role": "system", "content": "A", "name": "x"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    document = {"model": "m", "messages": said}
    request = to_chat(document, PLAIN, protocol="chat")
    assert (request.body["messages"], request.losses) == (said, ())


def test_text_of_several_parts_is_one_string_where_lists_are_not_known() -> None:
    said = Conversation((Message("user", (Text("One."), Text("Two."))),))
    assert chat.render(said, "m", PLAIN).body["messages"][0]["content"] == "One.\n\nTwo."
    assert len(chat.render(said, "m", FULL).body["messages"][0]["content"]) == 2


@pytest.mark.parametrize(
    "model", ["mistralai/Devstral-Small-2-24B-Instruct-2512", "mistral-large-latest"]
)
def test_mistrals_models_are_served_alike_by_every_server(model: str) -> None:
    messages = chat.render(Conversation(_history()), model, PLAIN).body["messages"]
    assert [m["role"] for m in messages][-3:] == ["tool", "assistant", "user"]
    assert len(messages[-3]["tool_call_id"]) == 9


def test_a_message_has_no_name_where_names_are_refused() -> None:
    said = [{"role": "user", "content": "Hi", "name": "ada"}]
    document = {"model": "m", "messages": said}
    request = to_chat(document, SERVERS["groq"].dialect, protocol="chat")
    assert request.body["messages"] == [{"role": "user", "content": "Hi"}]
    assert "messages.name" in lost(request)
    assert to_chat(document, PLAIN, protocol="chat").body["messages"] == said

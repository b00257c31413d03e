"""What a client does not see is found again by what it does."""

from dataclasses import replace

import pytest

from polyvox.workflows.conversation import (
    Conversation,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Wire,
    assistant,
    tool_result,
    user,
)
from polyvox.workflows.steps.transcript import assistant_turns, reply_key, restore

OWNER = "key model"
QUESTION = user("Rust or Go?")
REVIEW = ToolCall("call_1", "problem_review", '{"problem":"Rust or Go?"}')
HIDDEN = (
    assistant(Text("Let me ask."), REVIEW),
    tool_result(REVIEW, "They say Go."),
    assistant(Text("Go.")),
)
VISIBLE = (Text("Let me ask."), Text("Go."))
KEY = reply_key((QUESTION,), VISIBLE, OWNER)


def only_key(*messages: Message, owner: str = OWNER) -> str:
    (turn,) = assistant_turns(messages, owner)
    return turn.key


ECHOES: dict[str, tuple[Message, ...]] = {
    "in one text": (assistant(Text("Let me ask.Go.")),),
    "in one message each": (assistant(Text("Let me ask.")), assistant(Text("Go."))),
    "with white space around it": (assistant(Text("Let me ask.Go.\n")),),
    "with reasoning added": (assistant(Reasoning("hm"), Text("Let me ask.Go.")),),
    "with a cache marker on it": (
        assistant(
            Text("Let me ask.Go.", wire=Wire("messages", {"cache_control": {"type": "ephemeral"}}))
        ),
    ),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_an_echo_is_recognised_however_the_client_writes_it(echo: tuple[Message, ...]) -> None:
    """Only what was said counts, not how it is cut, marked or spelled around."""
    assert only_key(QUESTION, *echo) == KEY


def test_system_messages_between_do_not_matter() -> None:
    """Agents add and change reminders in roles of their own."""
    reminder = Message("system", (Text("Today is Monday."),))
    assert only_key(QUESTION, reminder, assistant(*VISIBLE)) == KEY


@pytest.mark.parametrize(
    ("messages", "owner"),
    [
        ((user("Rust or C?"), assistant(*VISIBLE)), OWNER),
        ((QUESTION, assistant(Text("Rust."))), OWNER),
        ((QUESTION, assistant(*VISIBLE)), "other model"),
        ((user("Hi"), QUESTION, assistant(*VISIBLE)), OWNER),
    ],
    ids=["another question", "another answer", "another owner", "another beginning"],
)
def test_something_else_is_not_taken_for_it(messages: tuple[Message, ...], owner: str) -> None:
    """A memory belongs to one conversation of one key with one model."""
    assert only_key(*messages, owner=owner) != KEY


@pytest.mark.parametrize("echoed_id", ["call_7", "call-7", "call7"])
def test_a_call_is_recognised_by_its_id_in_any_protocols_spelling(echoed_id: str) -> None:
    """Fronts may have to spell an id otherwise than the provider did."""

    def said(call_id: str) -> tuple[Part, ...]:
        return (ToolCall(call_id, "Bash", '{"command": "ls"}'),)

    key = reply_key((QUESTION,), said("call_7"), OWNER)
    assert only_key(QUESTION, assistant(*said(echoed_id))) == key


def test_the_hidden_messages_stand_where_the_echo_stood() -> None:
    """Around it nothing moves, and what a flow added stays at its place."""
    after = user("Why?")
    client = (QUESTION, assistant(Text("Let me ask.")), assistant(Text("Go.")), after)
    derived = Conversation((*client, user("added by the flow")))
    restored = restore(derived, client, assistant_turns(client, OWNER), {KEY: HIDDEN})
    assert restored.messages == (QUESTION, *HIDDEN, after, user("added by the flow"))


def test_without_a_memory_the_conversation_stays_the_very_same() -> None:
    """A client that edits its history simply goes on without what was hidden."""
    client = (QUESTION, assistant(Text("Something else.")))
    conversation = Conversation(client)
    assert restore(conversation, client, assistant_turns(client, OWNER), {KEY: HIDDEN}) is (
        conversation
    )


def test_later_turns_are_found_behind_restored_ones() -> None:
    """The chain is over what clients echo, so one memory does not hide the next."""
    second = (ToolCall("call_9", "Bash", "{}"),)
    client = (QUESTION, assistant(*VISIBLE), user("Do it."), assistant(*second))
    result = Message("user", (ToolResult("call_9", (Text("done"),)),))
    key = reply_key(client[:3], second, OWNER)
    turns = assistant_turns((*client, result), OWNER)
    assert [turn.key for turn in turns] == [KEY, key]
    hidden = {KEY: HIDDEN, key: (replace(HIDDEN[0], parts=(REVIEW, *second)),)}
    restored = restore(Conversation((*client, result)), (*client, result), turns, hidden)
    assert len(restored.messages) == 1 + len(HIDDEN) + 1 + 1 + 1

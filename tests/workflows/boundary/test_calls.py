"""A conversation as its difference from a stored one."""

from hypothesis import given
from hypothesis import strategies as st

from polyvox.workflows.boundary.calls import Span, refer, resolve
from polyvox.workflows.boundary.serialization import dump
from polyvox.workflows.conversation import Conversation, Options, Tool, Wire, assistant, user
from tests.samples.values import CONVERSATIONS, MESSAGES, OPTIONS, TOOLS

EDITS = st.sampled_from(["then", "instructed", "offering", "without_tool_use", "options", "drop"])


@given(CONVERSATIONS, st.lists(EDITS, max_size=3), MESSAGES, TOOLS, OPTIONS)
def test_what_was_referred_to_resolves_to_itself(
    base: Conversation, edits: list[str], message: object, tool: Tool, options: Options
) -> None:
    """Whatever a flow changes, the other side gets the same conversation."""
    derived = base
    for edit in edits:
        match edit:
            case "then":
                derived = derived.then(message)  # type: ignore[arg-type]
            case "instructed":
                derived = derived.instructed("Be brief.")
            case "offering":
                derived = derived.offering([tool])
            case "without_tool_use":
                derived = derived.without_tool_use()
            case "options":
                derived = derived.with_options(max_tokens=options.max_tokens)
            case _:
                derived = Conversation(derived.messages[1:], None, derived.tools[::-1], options)
    assert resolve(refer(derived, base, "digest"), base) == derived


@given(CONVERSATIONS)
def test_an_unchanged_conversation_is_a_digest_alone(base: Conversation) -> None:
    """Nothing of the client's words stands in the reference."""
    ref = refer(base, base, "digest")
    assert (ref.messages, ref.tools, ref.system, ref.options, ref.headers) == (None,) * 5


def test_only_what_was_added_travels() -> None:
    """Stored messages are spans, whatever stands between and after them."""
    first, second, third = (user(f"number {n}") for n in range(3))
    base = Conversation((first, second, third))
    derived = Conversation((second, third, assistant(), first))
    assert refer(derived, base, "d").messages == (Span(1, 3), assistant(), Span(0, 1))


def test_equal_is_not_the_same() -> None:
    """A message that only looks like a stored one travels itself: its wire may differ."""
    base = Conversation((user("x"),))
    assert refer(Conversation((user("x"),)), base, "d").messages == (user("x"),)


def test_edited_options_keep_the_stored_document() -> None:
    """The request's own document does not travel; the other side puts it back."""
    wire = Wire("chat", {"temperature": 1, "field_of_tomorrow": True})
    base = Conversation((user("x"),), options=Options(temperature=1, wire=wire))
    ref = refer(base.with_options(max_tokens=5), base, "d")
    assert ref.options is not None
    assert ref.options.wire is None
    resolved = resolve(ref, base)
    assert resolved.options.max_tokens == 5
    assert dump(resolved.options)["wire"] == dump(wire)

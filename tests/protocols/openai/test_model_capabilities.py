"""Options that no OpenAI client worded are fitted to the model; a client's own stay."""

import pytest

from polyvox.protocols.chat.provider import request as chat
from polyvox.protocols.openai import model_capabilities as openai_models
from polyvox.protocols.responses.provider import request as responses
from polyvox.workflows.conversation import Conversation, Options, Wire, user


@pytest.mark.parametrize(
    ("model", "effort", "fitted"),
    [
        ("gpt-5", "none", "minimal"),
        ("gpt-5", "max", "high"),
        ("gpt-5.1", "minimal", "none"),
        ("gpt-5.2-codex", "max", "xhigh"),
        ("gpt-6.1-sol", "max", "max"),
        ("o4-mini", "xhigh", "high"),
        ("o3", "none", "low"),
        ("openai/gpt-5.1", "low", "low"),
        ("gpt-4o", "high", None),
        ("gpt-5-chat-latest", "high", None),
        ("qwen3", "max", "max"),
    ],
)
def test_the_nearest_effort_that_the_model_has_is_asked(
    model: str, effort: str, fitted: str | None
) -> None:
    losses: list[str] = []
    options = openai_models.fitted(Options(effort=effort), model, losses)
    assert options.effort == fitted
    assert [loss.partition(":")[0] for loss in losses] == (["effort"] if effort != fitted else [])


def test_a_model_that_thinks_is_asked_without_sampling() -> None:
    losses: list[str] = []
    asked = Options(temperature=0.2, top_p=1, wire=Wire("messages", {}))
    assert openai_models.fitted(asked, "gpt-5", losses) == Options()
    assert losses == ["temperature: a model that thinks takes no sampling"]
    plain = Options(temperature=0.2, effort="none")
    assert openai_models.fitted(plain, "gpt-5.1", []) == plain


def test_what_a_client_of_the_protocol_worded_is_its_own() -> None:
    """The provider itself tells it what its model does not take."""
    document = {"temperature": 0.2, "reasoning_effort": "max", "stop": list("abcdef")}
    options = Options(0, 0.2, stop=tuple("abcdef"), effort="max", wire=Wire("chat", document))
    rendered = chat.render(Conversation((user("Hi"),), options=options), "gpt-4o")
    assert rendered.body["temperature"] == 0.2
    assert rendered.body["reasoning_effort"] == "max"
    assert rendered.body["stop"] == list("abcdef")
    assert (rendered.losses, rendered.stop) == ((), ())


def test_stop_sequences_the_provider_does_not_take_are_watched_for() -> None:
    conversation = Conversation((user("Hi"),), options=Options(stop=tuple("abcdef")))
    rendered = chat.render(conversation, "qwen3")
    assert (rendered.body["stop"], rendered.stop) == (list("abcd"), ("e", "f"))
    assert chat.render(conversation, "gpt-5").stop == tuple("abcdef")
    assert responses.render(conversation, "gpt-5").stop == tuple("abcdef")

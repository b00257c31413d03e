"""Lists of models and counts of tokens, in both dialects."""

from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest

from tests.programs.running import KEY, Live


@pytest.fixture(scope="module")
def openai_sdk(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.base_url}/v1", api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def anthropic_sdk(live: Live) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=live.base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def test_both_dialects_list_the_same_models(
    openai_sdk: openai.OpenAI, anthropic_sdk: anthropic.Anthropic
) -> None:
    """Whole in one, page by page in the other; nothing twice, nothing missing."""
    ours = [model.id for model in openai_sdk.models.list()]
    theirs = [model.id for model in anthropic_sdk.models.list(limit=3)]
    assert ours == theirs == sorted(ours)
    assert {"plain-chat", "panel-auto", "panel-required"} <= set(ours)


def test_pages_go_both_ways(anthropic_sdk: anthropic.Anthropic) -> None:
    """``before_id`` gives the page that ends just before it."""
    first = anthropic_sdk.models.list(limit=2)
    assert first.has_more
    assert (first.first_id, first.last_id) == (first.data[0].id, first.data[1].id)
    second = anthropic_sdk.models.list(limit=2, after_id=first.data[1].id)
    back = anthropic_sdk.models.list(limit=2, before_id=second.data[0].id)
    assert [model.id for model in back.data] == [model.id for model in first.data]
    third = anthropic_sdk.models.list(limit=1, before_id=second.data[1].id)
    assert [model.id for model in third.data] == [second.data[0].id]


def test_models_in_another_state_of_life_are_none(anthropic_sdk: anthropic.Anthropic) -> None:
    """All here are active."""
    assert list(anthropic_sdk.models.list(lifecycle=["deprecated", "retired"])) == []
    assert list(anthropic_sdk.models.list(lifecycle=["active"])) != []


def test_one_model_is_told_also_if_only_its_provider_is_known(
    openai_sdk: openai.OpenAI, anthropic_sdk: anthropic.Anthropic
) -> None:
    """``provider:model`` is a name like any other, slashes included."""
    assert openai_sdk.models.retrieve("sim-chat:some/model").id == "sim-chat:some/model"
    assert anthropic_sdk.models.retrieve("plain-chat").type == "model"
    with pytest.raises(openai.NotFoundError):
        openai_sdk.models.retrieve("no-such-model")
    with pytest.raises(anthropic.NotFoundError):
        anthropic_sdk.models.retrieve("no-such-model")


def test_what_a_model_is_declared_to_be_is_told_to_messages_clients(
    anthropic_sdk: anthropic.Anthropic,
) -> None:
    """Sizes and every capability the library knows; nothing is made up where nothing was said."""
    told = anthropic_sdk.models.retrieve("told-claude")
    assert (told.max_input_tokens, told.max_tokens) == (200_000, 32_000)
    assert told in anthropic_sdk.models.list(limit=1000).data
    can = told.capabilities
    assert can is not None
    type(can).model_validate(can.to_dict(), strict=True)
    assert can.image_input.supported
    assert not can.pdf_input.supported
    assert can.thinking.types.adaptive.supported
    assert (can.effort.low.supported, can.effort.medium.supported) == (True, False)
    for name in ("plain-chat", "sim-chat:main"):
        unknown = anthropic_sdk.models.retrieve(name)
        said = (unknown.max_input_tokens, unknown.max_tokens, unknown.capabilities)
        assert said == (None, None, None)


def test_what_a_model_is_declared_to_be_is_told_to_openai_clients(
    openai_sdk: openai.OpenAI,
) -> None:
    """In the fields of OpenRouter, vLLM and Groq, which agents read; none of them for others."""
    told = openai_sdk.models.retrieve("told-claude").to_dict()
    window = {told["context_length"], told["context_window"], told["max_model_len"]}
    assert window == {200_000}
    assert told["max_completion_tokens"] == told["top_provider"]["max_completion_tokens"] == 32_000  # type: ignore[index]
    assert told["architecture"]["input_modalities"] == ["text", "image"]  # type: ignore[index]
    assert {"tools", "reasoning"} <= set(told["supported_parameters"])  # type: ignore[call-overload]
    for name in ("plain-chat", "sim-chat:main"):
        unknown = openai_sdk.models.retrieve(name).to_dict()
        assert set(unknown) == {"id", "object", "created", "owned_by", "name"}


def test_codex_finds_the_models_in_the_shape_it_reads(live: Live) -> None:
    """It asks with its version, and refuses the whole list if an entry lacks one of these."""
    listed = live.ask("/v1/models?client_version=0.169.0").json()
    entries = {entry["slug"]: entry for entry in listed["models"]}
    assert list(entries) == [model["id"] for model in listed["data"]]
    for entry in entries.values():
        assert {
            "slug",
            "display_name",
            "supported_reasoning_levels",
            "shell_type",
            "visibility",
            "supported_in_api",
            "priority",
            "base_instructions",
            "support_verbosity",
            "truncation_policy",
            "experimental_supported_tools",
        } <= set(entry)
    told = entries["told-claude"]
    assert (told["context_window"], told["input_modalities"]) == (200_000, ["text", "image"])
    assert [level["effort"] for level in told["supported_reasoning_levels"]] == ["low", "high"]
    assert entries["plain-chat"]["context_window"] is None


def test_claude_code_finds_name_and_description(live: Live) -> None:
    """Its discovery asks for up to a thousand and shows these two of each."""
    answer = live.ask("/v1/models?limit=1000", **{"anthropic-version": "2023-06-01"})
    told = next(model for model in answer.json()["data"] if "claude" in model["id"])
    assert (told["display_name"], told["description"]) == ("told-claude", "Says what it is")


@pytest.mark.parametrize(
    ("model", "exact"),
    [
        ("sim-messages:main", True),
        ("plain-messages", True),
        ("sim-chat:main", False),
        ("dead:main", False),
        ("panel-auto", False),
    ],
)
def test_the_provider_counts_where_it_can(live: Live, model: str, exact: bool) -> None:
    """One model behind Messages has a counting route; elsewhere the answer is marked a guess."""
    answer = httpx.post(
        f"{live.base_url}/v1/messages/count_tokens",
        json={"model": model, "messages": [{"role": "user", "content": "one two three"}]},
        headers={"x-api-key": KEY},
        trust_env=False,
    )
    assert answer.status_code == 200
    assert answer.json()["input_tokens"] > 0
    assert ("x-polyvox-estimate" in answer.headers) is not exact
    if exact:
        assert answer.json() == {"input_tokens": 3}


def test_tokens_are_counted_without_asking_a_model(
    live: Live, anthropic_sdk: anthropic.Anthropic
) -> None:
    """More text, more tokens; and the answer says that it is an estimate."""
    before = sum(live.seen()["requests"].values())
    counted = [
        anthropic_sdk.messages.count_tokens(
            model="panel-auto", messages=[{"role": "user", "content": "one two three " * number}]
        ).input_tokens
        for number in (1, 100)
    ]
    assert 0 < counted[0] < 20
    assert 200 < counted[1] < 800
    assert sum(live.seen()["requests"].values()) == before

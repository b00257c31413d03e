"""Lists of models and counts of tokens, in both dialects."""

from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest

from tests.gateway.running import KEY, Live


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

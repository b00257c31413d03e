"""What becomes of fields that the provider's protocol lacks, through the whole program."""

from typing import Any

import pytest

from polyvox.workflows.events import fold
from tests.crossing.passages import as_stream, decode, split
from tests.programs.running import Live

ADVICE = "Should we move the billing system to Rust this year?"


def question(**fields: Any) -> dict[str, Any]:
    return {"max_tokens": 500, "messages": [{"role": "user", "content": ADVICE}], **fields}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_stop_sequence_holds_where_the_provider_has_none(live: Live, stream: bool) -> None:
    """The answer ends before it and says so; its tokens are those of the whole."""
    document = question(model="sim-responses:optimist", stop_sequences=["Position:"], stream=stream)
    answer = live.post("messages", document)
    assert answer.status_code == 200
    frames = split(answer.content) if stream else as_stream("messages", answer.json())
    reply = fold(decode("messages", frames))
    assert reply.text.startswith("[simulated:optimist]")
    assert "Position:" not in reply.text
    assert reply.stop_sequence == "Position:"
    assert (reply.usage.output or 0) > 50


def test_what_is_lost_is_told_to_the_client_and_kept_with_the_run(live: Live) -> None:
    document = question(model="sim-messages:optimist", seed=7, logit_bias={"5": 1})
    answer = live.post("chat", document)
    assert answer.headers["x-polyvox-losses"] == "logit_bias, seed"
    assert live.ended(answer.headers["x-polyvox-run"])["losses"] == ["logit_bias", "seed"]


def test_what_would_change_the_answer_is_refused_by_name(live: Live) -> None:
    """The client learns which field it was, in its own protocol."""
    document = question(model="sim-responses:optimist", inference_geo="us")
    answer = live.post("messages", document)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "inference_geo" in answer.json()["error"]["message"]

"""Whole answers are compressed for clients that take it; streams never are."""

from typing import Any

import httpx
import pytest

from tests.gateway.running import KEY, PATHS, Live

LONG = "sim-messages:main-n3000"


def answer_to(live: Live, encoding: str, **more: Any) -> httpx.Response:
    return httpx.post(
        live.base_url + PATHS["messages"],
        json={
            "model": LONG,
            "max_tokens": 5000,
            "messages": [{"role": "user", "content": "Go on."}],
            **more,
        },
        headers={"x-api-key": KEY, "accept-encoding": encoding},
        timeout=60,
        trust_env=False,
    )


@pytest.mark.parametrize(
    ("encoding", "compressed"), [("gzip", True), ("gzip, deflate, br", True), ("identity", False)]
)
def test_a_long_answer_is_compressed_if_the_client_takes_it(
    live: Live, encoding: str, compressed: bool
) -> None:
    """The text is the same either way."""
    answer = answer_to(live, encoding)
    assert ("content-encoding" in answer.headers) is compressed
    assert len(answer.json()["content"][0]["text"]) > 4096


def test_a_stream_is_not_compressed(live: Live) -> None:
    """A compressor would keep words back until it has enough of them."""
    answer = answer_to(live, "gzip", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in answer.headers

"""Whole answers are compressed for clients that take it, streams never; requests may be."""

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
import zstandard

from tests.programs.running import KEY, MAX_BODY_MIB, PATHS, Live

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


def send_packed(live: Live, encoding: str, body: bytes) -> httpx.Response:
    return httpx.post(
        live.base_url + PATHS["chat"],
        content=body,
        headers={"x-api-key": KEY, "content-encoding": encoding},
        timeout=60,
        trust_env=False,
    )


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_compressed_request_is_read(live: Live, encoding: str) -> None:
    """As long as what it unpacks to is within the limit of a body."""
    pack = PACKERS[encoding]
    hello = {"model": "plain-chat", "messages": [{"role": "user", "content": "hello there"}]}
    answer = send_packed(live, encoding, pack(orjson.dumps(hello)))
    assert "hello there" in answer.json()["choices"][0]["message"]["content"]
    bomb = pack(b" " * (MAX_BODY_MIB * 1024 * 1024 + 1))
    assert len(bomb) < 20_000
    assert send_packed(live, encoding, bomb).status_code == 413


@pytest.mark.parametrize(
    ("encoding", "status"), [("br", 415), ("gzip", 400), ("deflate", 400), ("zstd", 400)]
)
def test_what_cannot_be_unpacked_is_refused(live: Live, encoding: str, status: int) -> None:
    """With what can be sent, or what is wrong with it."""
    answer = send_packed(live, encoding, b"{}")
    assert answer.status_code == status
    assert encoding in answer.json()["error"]["message"]

"""Measure the codecs alone: the CPU cost of one streamed token for each pair of protocols.

A provider's bytes are split into frames, decoded to Events, folded into the Reply and encoded for
the client, in this process, without network, engine or ledger.
"""

import gc
import itertools
import statistics
import time

import httpx

from benchmarks.program import Load
from polyvox.protocols.client_side import Ask
from polyvox.protocols.sse import FrameSplitter
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json
from polyvox.workflows.events import Fold

TOKENS = 2000
REPEATS = 9

Microseconds = dict[tuple[str, str], float]
"""Microseconds per token, by the provider's protocol and the client's."""


def measure(load: Load) -> Microseconds:
    """Return the median cost of a token for each pair of protocols."""
    streams = {protocol: _recorded(load, protocol) for protocol in PROTOCOLS}
    pairs = list(itertools.product(PROTOCOLS, PROTOCOLS))
    seconds: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    gc.collect()
    gc.disable()
    try:
        # All pairs in turns, so that a busy moment of the machine does not fall on one of them.
        for _ in range(REPEATS):
            for provider, client in pairs:
                seconds[provider, client].append(
                    _relay(provider, streams[provider], client, _parse(client))
                )
    finally:
        gc.enable()
    return {pair: statistics.median(taken) / TOKENS * 1e6 for pair, taken in seconds.items()}


def _recorded(load: Load, protocol: str) -> list[bytes]:
    """Return a stream of the fake upstream in pieces as a network would deliver them."""
    answer = httpx.post(
        load.url + PROTOCOLS[protocol].route,
        json={"model": f"ttft0-tokens{TOKENS}-gap0", "stream": True},
        trust_env=False,
    )
    answer.raise_for_status()
    return [frame + b"\n\n" for frame in answer.content.split(b"\n\n") if frame]


def _parse(protocol: str) -> Ask:
    said: list[Json] = [{"role": "user", "content": "Hello."}]
    more: dict[str, Json] = {"input": said} if protocol == "responses" else {"messages": said}
    document: dict[str, Json] = {"model": "any", "stream": True, "max_tokens": 4096, **more}
    return PROTOCOLS[protocol].parser.parse(document, {})


def _relay(provider: str, pieces: list[bytes], client: str, ask: Ask) -> float:
    """Return the seconds it takes to relay the stream, including its end."""
    decoder = PROTOCOLS[provider].provider.decoder()
    encoder = PROTOCOLS[client].answers.encoder(ask, run_id="run_1", created=1_700_000_000)
    splitter = FrameSplitter()
    folding = Fold()
    encoded: list[bytes] = []
    began = time.perf_counter()
    for piece in pieces:
        for name, data in splitter.feed(piece):
            events = decoder.feed(name, data)
            folding.feed(events)
            encoded += map(encoder.feed, events)
    folding.feed(decoder.finish())
    encoded.append(encoder.finish(folding.reply()))
    taken = time.perf_counter() - began
    tokens = b"".join(encoded).count(b"@")
    assert tokens >= TOKENS, f"{provider} to {client}: {tokens} tokens instead of {TOKENS}"
    return taken

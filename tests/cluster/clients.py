"""Clients of a cluster: single requests in each protocol, and requests at a steady rate."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx

Protocol = Literal["chat", "responses", "messages"]
PROTOCOLS: tuple[Protocol, ...] = ("chat", "responses", "messages")

_PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
_ENDS = {"chat": "data: [DONE]", "responses": "response.completed", "messages": "message_stop"}
"""What the last event of a complete stream has, and no other one."""

_COMPLETE: dict[str, tuple[str, tuple[str, ...]]] = {
    "chat": ("finish_reason", ("stop", "length")),
    "responses": ("status", ("completed", "incomplete")),
    "messages": ("stop_reason", ("end_turn", "max_tokens")),
}
"""The member of a whole answer that says how it ended, and its values without an error."""

LIMIT_S = 120.0
PROMPT = "Say a few words."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got. ``failure`` is why the answer is not complete, empty if it is."""

    protocol: Protocol
    streamed: bool
    status: int
    headers: httpx.Headers
    body: str
    failure: str


def new_client() -> httpx.AsyncClient:
    """Return a client without a proxy and without a limit of connections."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(trust_env=False, timeout=LIMIT_S, limits=limits)


async def ask(
    client: httpx.AsyncClient,
    base_url: str,
    key: str,
    *,
    model: str,
    protocol: Protocol = "chat",
    streamed: bool = False,
    started: asyncio.Event | None = None,
) -> Answer:
    """Send a request and return its answer, or how it failed. ``started`` is set at the first byte
    of the body."""
    document: dict[str, Any] = {"model": model, "stream": streamed}
    if protocol == "responses":
        document["input"] = PROMPT
    else:
        document |= {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4096}
    headers = {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
    status, received, body = 0, httpx.Headers(), ""
    try:
        async with client.stream(
            "POST", base_url + _PATHS[protocol], json=document, headers=headers
        ) as response:
            status, received = response.status_code, response.headers
            async for piece in response.aiter_text():
                body += piece
                if started is not None:
                    started.set()
    except httpx.HTTPError as error:
        failure = f"{type(error).__name__} {error} after {len(body)} characters"
    else:
        failure = _failure(protocol, streamed, status, body)
    return Answer(protocol, streamed, status, received, body, failure)


def _failure(protocol: Protocol, streamed: bool, status: int, body: str) -> str:
    if status != 200:
        return f"status {status}: {body[:500]}"
    if streamed:
        return "" if _ENDS[protocol] in body else f"the stream has no end: ...{body[-500:]}"
    document = json.loads(body)
    member, complete = _COMPLETE[protocol]
    ending = document["choices"][0] if protocol == "chat" else document
    return "" if ending[member] in complete else f"not complete: {body[:500]}"


@contextlib.asynccontextmanager
async def load(
    base_url: str, key: str, *, model: str, per_second: float
) -> AsyncIterator[list[Answer]]:
    """Send requests at a steady rate while the context is open; wait for all answers at its end.

    They alternate between the protocols, streamed and whole. The list gets the answers.
    """
    answers: list[Answer] = []
    stopping = asyncio.Event()
    kinds = itertools.cycle(itertools.product(PROTOCOLS, (True, False)))

    async def one(client: httpx.AsyncClient, protocol: Protocol, streamed: bool) -> None:
        answers.append(
            await ask(client, base_url, key, model=model, protocol=protocol, streamed=streamed)
        )

    async def send(client: httpx.AsyncClient, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        while not stopping.is_set():
            group.create_task(one(client, *next(kinds)))
            at += 1 / per_second
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), max(0.0, at - loop.time()))

    async with new_client() as client, asyncio.TaskGroup() as group:
        group.create_task(send(client, group))
        try:
            yield answers
        finally:
            stopping.set()


def check(answers: list[Answer]) -> None:
    """Raise AssertionError with the first failures if one of the answers is not complete."""
    failed = [
        f"{answer.protocol}{' streamed' if answer.streamed else ''}: {answer.failure}"
        for answer in answers
        if answer.failure
    ]
    if failed:
        first = "\n".join(failed[:10])
        raise AssertionError(f"{len(failed)} of {len(answers)} requests failed:\n{first}")

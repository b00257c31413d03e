"""Reads the events of runs, as a client of ``/api`` and as Temporal's own subscriber."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
from temporalio.contrib.workflow_streams import WorkflowStreamClient

from tests.programs.running import ADMIN_KEY, LIMIT_S, Live

Event = dict[str, Any]


def sse(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the data of server-sent events, checked against their id and name."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            event: Event = json.loads(fields["data"])
            assert (event["id"], event["type"]) == (fields["id"], fields["event"])
            yield event
            fields = {}


def follow(base_url: str, run_id: str, key: str = ADMIN_KEY, **headers: str) -> Iterator[Event]:
    """Yield the events of a run until the stream ends."""
    with httpx.stream(
        "GET",
        f"{base_url}/api/runs/{run_id}/events",
        headers={"x-api-key": key, **headers},
        timeout=LIMIT_S,
        trust_env=False,
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield from sse(answer.iter_lines())


def types_of(events: Iterable[Event]) -> list[str]:
    """Return the types of events, neighbours of the same type once."""
    types: list[str] = []
    for event in events:
        if types[-1:] != [event["type"]]:
            types.append(event["type"])
    return types


def text_of(events: Iterable[Event]) -> str:
    """Return the text that is valid at the end, as a watcher puts it together."""
    text: dict[str, str] = {}
    for event in events:
        if event["type"] == "text_void":
            text[event["call"]] = ""
        elif event["type"] == "text":
            text[event["call"]] = text.get(event["call"], "") + event["text"]
    return "".join(text.values())


def subscribed(live: Live, run_id: str, offset: int = 0) -> list[Any]:
    """Return what Temporal's own subscriber reads of a run until its end."""

    async def read() -> list[Any]:
        stream = WorkflowStreamClient.create(live.program.runtime.client, run_id)
        return [item async for item in stream.subscribe(from_offset=offset)]

    return live.run(read())

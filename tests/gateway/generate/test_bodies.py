"""Bodies travel by reference: histories stay small, repeated messages are stored once."""

import asyncio
import base64
import random
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from temporalio.client import WorkflowFailureError

from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.protocols.messages.client import request as messages
from polyvox.worker.runs.start import TASK_QUEUE, new_run_id
from polyvox.workflows.boundary.calls import ConversationRef, RunInput
from polyvox.workflows.boundary.failures import model_error
from polyvox.workflows.reply import Reply
from tests.gateway.generate.test_failures import request
from tests.programs.running import LIMIT_S, Live

KIB = 1024
WORDS = [
    "the",
    "a",
    "panel",
    "model",
    "answer",
    "writes",
    "file",
    "reads",
    "code",
    "when",
    "why",
    "tokens",
    "cost",
    "branch",
    "judge",
]


def prose(chance: random.Random, size: int) -> str:
    """Return ``size`` characters that no two calls share."""
    text = " ".join(chance.choices(WORDS, k=size // 4)) + f" {chance.random()}"
    return text[:size]


def history_bytes(live: Live, run_id: str) -> int:
    """The run's history as Temporal keeps it, in protobuf bytes."""

    async def fetched() -> int:
        history = await live.handle(run_id).fetch_history()
        return sum(event.ByteSize() for event in history.events)

    return live.run(fetched())


def long_conversation() -> list[dict[str, Any]]:
    """1 MiB of text in 64 messages, and a 5 MB image in the last one."""
    chance = random.Random(1)
    talk: list[dict[str, Any]] = [
        {"role": "assistant" if at % 2 else "user", "content": prose(chance, 16 * KIB)}
        for at in range(64)
    ]
    image = base64.b64encode(chance.randbytes(5_000_000 * 3 // 4)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": image}
    question = {"type": "text", "text": "Should we split this file?"}
    return [*talk, {"role": "user", "content": [question, {"type": "image", "source": source}]}]


@pytest.mark.parametrize(
    ("model", "limit_kib"), [("sim-messages:main", 16), ("panel-auto", 64), ("panel-required", 64)]
)
def test_a_history_does_not_grow_with_its_conversation(
    live: Live, model: str, limit_kib: int
) -> None:
    """A direct run stays within 16 KiB, a panel's within 64 KiB, whatever the client sent."""
    document = {"model": model, "max_tokens": 500, "messages": long_conversation()}
    answer = live.post("messages", document)
    assert answer.status_code == 200, answer.text
    run_id = answer.headers["x-polyvox-run"]
    run = live.ended(run_id, 1 if model.startswith("sim") else 5)
    assert run["status"] == "completed"
    assert history_bytes(live, run_id) <= limit_kib * KIB


def agent_session(turns: int) -> list[dict[str, Any]]:
    """The requests of a coding session as Claude Code sends them.

    Every request repeats the whole conversation, the system prompt and the tools; the cache marker
    moves to the newest message, so an old message comes once with it and then without it.
    """
    chance = random.Random(2)
    marker = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": prose(chance, 12 * KIB), **marker}]
    tools = [
        {
            "name": f"Tool{number}",
            "description": prose(chance, 2 * KIB),
            "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
        }
        for number in range(16)
    ]
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "Mend the failing test."}]}
    ]
    sent: list[dict[str, Any]] = []
    for turn in range(turns):
        newest = talk[-1]
        marked = [*newest["content"][:-1], {**newest["content"][-1], **marker}]
        sent.append(
            {
                "model": "sim-messages:main-n50",
                "max_tokens": 32000,
                "system": system,
                "tools": tools,
                "metadata": {"user_id": "somebody"},
                "messages": [*talk[:-1], {"role": "user", "content": marked}],
            }
        )
        call_id = f"toolu_{turn:024}"
        said = [
            {"type": "text", "text": prose(chance, 300)},
            {"type": "tool_use", "id": call_id, "name": "Tool1", "input": {"path": f"f{turn}.py"}},
        ]
        result = {
            "type": "tool_result",
            "tool_use_id": call_id,
            "content": prose(chance, 6 * KIB),
        }
        talk += [{"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    return sent


def unique_bytes(sent: list[dict[str, Any]]) -> int:
    """The JSON bytes of every different message, tool and system prompt of a session.

    Cache markers do not make a message different: they say nothing that a model is told.
    """

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(v) for name, v in value.items() if name != "cache_control"}
        return [bare(item) for item in value] if isinstance(value, list) else value

    elements = {
        orjson.dumps(bare(element))
        for document in sent
        for element in [*document["messages"], *document["tools"], document["system"]]
    }
    return sum(map(len, elements))


def raw_bytes(file: Path) -> int:
    """The bytes of all blobs before they were compressed."""
    with sqlite3.connect(file) as connection:
        (size,) = connection.execute("SELECT SUM(size) FROM blobs").fetchone()
    connection.close()
    return int(size)


async def test_an_agents_session_is_stored_once(tmp_path: Path) -> None:
    """30 turns cost at most 1.3 times their unique bytes, before any compression."""
    sent = agent_session(30)
    store = SqliteBlobs(tmp_path / "blobs.db")
    bodies = Bodies(store)
    for document in sent:
        await bodies.put(messages.parse(document, {}).conversation, "key_a")
    store.close()
    unique = unique_bytes(sent)
    whole = sum(len(orjson.dumps(document)) for document in sent)
    assert whole > 10 * unique
    assert raw_bytes(tmp_path / "blobs.db") <= 1.3 * unique


def test_the_running_program_stores_a_session_once(live: Live) -> None:
    """The same through the front door, counted as stored: replies and manifests included."""
    store = live.program.runtime.bodies._store

    async def stored() -> int:
        return await store.on_writer(store.stored_bytes)

    sent = agent_session(30)
    before = live.run(stored())
    for document in sent:
        assert live.post("messages", document).status_code == 200
    assert live.run(stored()) - before <= 1.3 * unique_bytes(sent)


def test_a_long_answer_is_kept_by_reference(live: Live) -> None:
    """An answer of 100 KB comes back whole and leaves the history small."""
    answer = live.post("chat", request("chat", "sim-chat:main-n20000", stream=False))
    text = answer.json()["choices"][0]["message"]["content"]
    assert len(text) > 100_000
    assert history_bytes(live, answer.headers["x-polyvox-run"]) <= 16 * KIB


@pytest.mark.parametrize("model", ["plain-chat", "panel-auto"])
def test_a_run_whose_conversation_is_lost_fails(live: Live, model: str) -> None:
    """It ends with a typed error, and is not tried again until its limit."""
    runtime = live.program.runtime
    binding = runtime.registry.resolve(model, runtime.providers)
    run_input = RunInput(
        model, binding.flow, binding.digest, ConversationRef("0" * 64), dict(binding.params)
    )

    async def asked() -> BaseException:
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(
                runtime.client.execute_workflow(
                    binding.flow,
                    run_input,
                    id=new_run_id(),
                    task_queue=TASK_QUEUE,
                    result_type=Reply,
                ),
                LIMIT_S,
            )
        return failed.value

    error = model_error(live.run(asked()))
    assert (error.kind, "missing on the server" in error.message) == ("not_found", True)

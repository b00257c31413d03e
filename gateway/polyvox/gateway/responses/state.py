"""Stored responses: created, continued, read, cancelled and deleted.

A response's id is its run's with a prefix, so the engine can always be asked about it. The row in
the store has its key and its conversation. Where the row lacks an end, the process has died, and
the run's own result is rendered now. This is the same for providers of every protocol.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

from polyvox.activities.live.relay import RunOutcome
from polyvox.activities.registry.registry import DIRECT
from polyvox.activities.storage.responses import PREFIX, StoredResponse
from polyvox.gateway.generate.exchange import Caller, Exchange
from polyvox.gateway.generate.sinks import Sink
from polyvox.gateway.http.admission import Share
from polyvox.gateway.http.request_log import RequestFacts, write_line
from polyvox.gateway.responses.background import KEEP_ALIVE, Recording, resumed, split_frames
from polyvox.gateway.responses.compaction import (
    SummaryStreamEncoder,
    asking_for_summary,
    is_triggered,
)
from polyvox.gateway.responses.previous_turns import History, Recent
from polyvox.gateway.responses.stored_encoder import (
    Keep,
    StoredResponseEncoder,
    StoredStreamEncoder,
)
from polyvox.protocols.client_side import Ask
from polyvox.protocols.requests.credentials import redacted
from polyvox.protocols.responses import elements as wire
from polyvox.protocols.responses.client import response_object
from polyvox.protocols.responses.include import Included, included
from polyvox.protocols.responses.storing import StoreOptions
from polyvox.worker.runs.start import new_run_id
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json, Message
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply, Usage

_PATH = "/v1/responses"


class StoredExchange:
    """A foreground answer that is stored."""

    def __init__(self, exchange: Exchange, stored: StoredResponseEncoder, keep: Keep) -> None:
        self._exchange = exchange
        self._stored = stored
        self._keep = keep

    async def answer(self, sink: Sink) -> None:
        await self._exchange.answer(sink)
        writing = self._stored.writing
        if writing is None or self._exchange.refused is not None:
            return
        if writing.response["status"] == "in_progress":
            self._keep({**writing.response, "status": "cancelled"})


class ResponsesState:
    """The stored responses of one process. Used on the event loop only."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._store = runtime.responses
        self._history = History(runtime.responses, runtime.conversations, runtime.bodies)
        self._recordings: dict[str, tuple[Recording, asyncio.Task[None]]] = {}

    async def whole(
        self, ask: Ask, storing: StoreOptions, key_id: str, recent: Recent
    ) -> tuple[Ask, tuple[Message, ...]]:
        """Return ``ask`` with all that it continues, and its own messages at the end of that.

        Raises what ``History.whole`` raises.
        """
        whole = self._marked(await self._history.whole(ask, storing, key_id, recent))
        messages = whole.conversation.messages
        return whole, messages[len(messages) - len(ask.conversation.messages) :]

    async def exchange(
        self,
        ask: Ask,
        storing: StoreOptions,
        caller: Caller,
        own: tuple[Message, ...],
        also: Keep | None = None,
    ) -> StoredExchange:
        """Return the answer to a whole ``ask``, stored when it ends.

        ``own`` are the messages that a named conversation does not have yet; ``also`` is called
        with the response object too, before the client gets it.
        """
        runtime = self._runtime
        encoder_type = StoredStreamEncoder
        if is_triggered(ask) and not self.compacts_itself(ask.model):
            ask, encoder_type = asking_for_summary(ask), SummaryStreamEncoder
        digest = await runtime.bodies.put(ask.conversation, caller.key_id)
        keep = self._keep(ask, storing, caller, digest, own, also)
        stored = StoredResponseEncoder(keep, encoder_type=encoder_type)
        exchange = Exchange(runtime, stored, ask, caller, digest=digest, fetchable=storing.store)
        return StoredExchange(exchange, stored, keep)

    def compacts_itself(self, model: str) -> bool:
        """Return True if one provider answers alone, and its protocol has its own compaction."""
        binding = self._runtime.registry.resolve(model, self._runtime.providers)
        if binding.flow.partition("@")[0] != DIRECT:
            return False
        provider = self._runtime.providers.get(str(binding.params["model"]).partition(":")[0])
        return provider is not None and self._runtime.protocols[provider.protocol].stateful

    async def prepare(self, ask: Ask, storing: StoreOptions, caller: Caller, also: Keep) -> bytes:
        """Return the stream of a response without output, which a later request can continue."""
        digest = await self._runtime.bodies.put(ask.conversation, caller.key_id)
        keep = self._keep(ask, storing, caller, digest, (), also)
        writing = StoredStreamEncoder(ask, run_id=new_run_id(), created=int(time.time()), keep=keep)
        return writing.finish(Reply((), usage=Usage(0, 0, 0, 0, 0)))

    def _keep(
        self,
        ask: Ask,
        storing: StoreOptions,
        caller: Caller,
        digest: str,
        own: tuple[Message, ...],
        also: Keep | None,
    ) -> Keep:
        """Return a function that stores the response object that answers ``ask``."""

        def keep(document: dict[str, Json]) -> None:
            if storing.store:
                self._store.keep(
                    StoredResponse(
                        response_id=document["id"],
                        key_id=caller.key_id,
                        model=ask.model,
                        created=document["created_at"],
                        conversation=digest,
                        stream=ask.stream,
                        previous_id=storing.previous,
                        document=document,
                    )
                )
            self._add_to_thread(storing, caller.key_id, own, document)
            if also is not None:
                also(document)

        return keep

    async def begin(
        self,
        ask: Ask,
        storing: StoreOptions,
        caller: Caller,
        own: tuple[Message, ...],
        share: Share,
    ) -> Recording:
        """Start a background response; it can be found when this returns.

        It releases ``share`` and is logged when it ends. Raises ModelError if it cannot run.
        """
        caller.facts.model = ask.model
        facts = RequestFacts(key=caller.facts.key)
        caller = replace(caller, facts=facts)
        with ExitStack() as unstarted:
            unstarted.callback(share.release)
            recording = await self._recording(ask, storing, caller)
            unstarted.pop_all()

        async def record() -> None:
            started = time.perf_counter()
            try:
                await recording.run()
            finally:
                write_line("BACKGROUND", _PATH, facts.error_status or 200, started, facts)
                share.release()
                del self._recordings[recording.stored.response_id]
            if recording.stored.document is not None:
                self._add_to_thread(storing, caller.key_id, own, recording.stored.document)

        task = asyncio.create_task(record(), name=recording.stored.response_id)
        self._recordings[recording.stored.response_id] = recording, task
        return recording

    async def _recording(self, ask: Ask, storing: StoreOptions, caller: Caller) -> Recording:
        runtime = self._runtime
        runtime.registry.resolve(ask.model, runtime.providers)
        stored = StoredResponse(
            response_id=PREFIX + new_run_id(),
            key_id=caller.key_id,
            model=ask.model,
            created=int(time.time()),
            conversation=await runtime.bodies.put(ask.conversation, caller.key_id),
            stream=ask.stream,
            background=True,
            previous_id=storing.previous,
        )
        self._store.keep(stored)
        await self._store.flush()
        return Recording(runtime, ask, caller, stored)

    async def find(self, response_id: str, key_id: str) -> StoredResponse:
        """Return a response as it is now. Raises ModelError("not_found")."""
        stored = await self._store.find(response_id, key_id)
        if stored is None:
            raise ModelError("not_found", f"Response with id {response_id!r} not found.")
        if stored.document is None and response_id not in self._recordings:
            stored = await self._settled(stored)
        return stored

    async def document(self, stored: StoredResponse) -> dict[str, Json]:
        """Return the whole response object as it is now."""
        if stored.document is not None:
            # Older programs stored the credentials of tools.
            return cast(dict[str, Json], redacted(stored.document))
        if stored.response_id in self._recordings:
            return self._recordings[stored.response_id][0].document
        return response_object.begun(await self._ask(stored), stored.response_id, stored.created)

    async def shows(self, stored: StoredResponse, asked: Iterable[str]) -> Included:
        """Return which optional members of ``stored`` to include: its request's and ``asked``."""
        return included(await self._ask(stored)).also(asked)

    async def events(
        self, stored: StoredResponse, after: int, shows: Included
    ) -> AsyncIterator[bytes]:
        """Yield the frames of a background stream behind sequence number ``after``."""
        keep_alive_s = self._runtime.keep_alive_s
        if stored.response_id in self._recordings:
            recording, _ = self._recordings[stored.response_id]
            async for frames in recording.follow(after, keep_alive_s, shows):
                yield frames
            return
        place = after + 1
        while True:
            shown = split_frames(await self._store.frames(stored.response_id))
            if shown[place:]:
                yield b"".join([shows.frame(frame) for frame in shown[place:]])
                place = len(shown)
            if stored.document is not None:
                return
            await self._wait(stored, keep_alive_s)
            stored = await self._settled(stored)
            yield KEEP_ALIVE

    async def cancel(self, response_id: str, key_id: str) -> StoredResponse:
        """Cancel a background response; one that has ended is not changed."""
        stored = await self.find(response_id, key_id)
        if not stored.background:
            raise ModelError(
                "invalid_request",
                f"Response {response_id!r} was not created with background=true; only those can "
                "be cancelled. Close the connection to end another one.",
                param="response_id",
            )
        if stored.document is not None:
            return stored
        if response_id in self._recordings:
            recording, task = self._recordings[response_id]
            recording.cancel()
            await asyncio.wait([task])
        else:
            await self._end_run(stored)
        return await self.find(response_id, key_id)

    async def delete(self, response_id: str, key_id: str) -> None:
        """Delete a response, and cancel it if it has not ended. Raises ModelError."""
        stored = await self.find(response_id, key_id)
        if stored.document is None:
            await self.cancel(response_id, key_id)
        self._store.forget(response_id)

    async def close(self) -> None:
        """Stop reading background runs: they continue in the engine, and are found there."""
        tasks = [task for _, task in self._recordings.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _add_to_thread(
        self,
        storing: StoreOptions,
        key_id: str,
        own: tuple[Message, ...],
        document: dict[str, Json],
    ) -> None:
        if storing.thread is None or document["status"] not in ("completed", "incomplete"):
            return
        output = [wire.parse_message(item) for item in document["output"]]
        self._runtime.conversations.add(storing.thread, key_id, [*own, *output])

    async def _ask(self, stored: StoredResponse) -> Ask:
        conversation = await self._runtime.bodies.fetch(stored.conversation)
        return self._marked(Ask("responses", stored.model, conversation, stored.stream))

    def _marked(self, ask: Ask) -> Ask:
        """Return ``ask``, marked if a single provider of this protocol answers it."""
        with contextlib.suppress(ModelError):  # an unknown model is refused when its run starts
            return replace(ask, direct=self.compacts_itself(ask.model))
        return ask

    async def _settled(self, stored: StoredResponse) -> StoredResponse:
        """Return ``stored`` with its end, if its run, which another process began, has ended."""
        outcome = await self._runtime.runs.find(stored.run_id).ended()
        return stored if outcome is None else await self._finished(stored, outcome)

    async def _finished(self, stored: StoredResponse, outcome: RunOutcome) -> StoredResponse:
        finished: list[StoredResponse] = []

        def keep(document: dict[str, Json]) -> None:
            finished.append(replace(stored, document=document))
            self._store.keep(finished[0])

        shown = await self._store.frames(stored.response_id) if stored.stream else b""
        writing = resumed(await self._ask(stored), stored, shown, keep)
        try:
            frames = writing.finish(outcome.result())
        except ModelError as error:
            frames = writing.fail(error)
        if stored.stream:
            self._store.keep_frames(stored.response_id, len(split_frames(shown)), frames)
        return finished[0]

    async def _wait(self, stored: StoredResponse, limit_s: float) -> None:
        """Wait until the run has ended, for at most ``limit_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._runtime.runs.find(stored.run_id).outcome(), limit_s)

    async def _end_run(self, stored: StoredResponse) -> None:
        await self._runtime.runs.find(stored.run_id).cancel()
        await self._wait(stored, 10.0)

"""Stored responses: created, continued, read, cancelled and deleted.

A response's id is its run's with a prefix, so the engine can always be asked about it. The row in
the store is written when the response begins, with its key and its conversation, and again with its
end. Where the process has died in between, another one writes the end. This is the same for
providers of every protocol.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import cast

from polyvox.activities.registry.registry import DIRECT
from polyvox.activities.storage.responses import PREFIX, StoredResponse
from polyvox.gateway.generate.caller import Caller
from polyvox.gateway.generate.exchange import Exchange
from polyvox.gateway.generate.joining import AnsweringRun
from polyvox.gateway.generate.sinks import Sink
from polyvox.gateway.http.admission import Share
from polyvox.gateway.http.request_log import RequestFacts
from polyvox.gateway.responses.background import Recording
from polyvox.gateway.responses.compaction import (
    SummaryStreamEncoder,
    asking_for_summary,
    is_triggered,
)
from polyvox.gateway.responses.previous_turns import History, Recent
from polyvox.gateway.responses.recordings import Recordings
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


class StoredExchange:
    """A foreground answer that is stored; ``forget`` deletes it if there is no answer."""

    def __init__(
        self,
        exchange: Exchange,
        stored: StoredResponseEncoder,
        keep: Keep,
        forget: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._stored = stored
        self._keep = keep
        self._forget = forget

    async def answer(self, sink: Sink) -> None:
        await self._exchange.answer(sink)
        writing = self._stored.writing
        if writing is None or self._exchange.refused is not None:
            self._forget()
            return
        if writing.response["status"] == "in_progress":
            self._keep({**writing.response, "status": "cancelled"})


class ResponsesState:
    """The stored responses of one process. Used on the event loop only."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._store = runtime.responses
        self._history = History(
            runtime.responses, runtime.conversations, runtime.bodies, self._found
        )
        self.recordings = Recordings(runtime, self._ask)

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
        run: AnsweringRun | None = None,
    ) -> StoredExchange:
        """Return the answer to a whole ``ask``, stored when it begins and when it ends.

        ``own`` are the messages that a named conversation does not have yet; ``also`` is called
        with the response object too, before the client gets it. ``run`` answers it, by default a
        new one.
        """
        runtime = self._runtime
        encoder_type = StoredStreamEncoder
        if is_triggered(ask) and not self.compacts_itself(ask.model):
            ask, encoder_type = asking_for_summary(ask), SummaryStreamEncoder
        run = run or AnsweringRun(new_run_id(), is_joined=False)
        digest = await runtime.bodies.put(ask.conversation, caller.key_id)
        begun = _begun(ask, storing, caller, digest, run.run_id)
        known: StoredResponse | None = None
        if run.is_joined:
            known = await self._store.find(begun.response_id, caller.key_id)
            if known is not None and known.document is not None:
                # Its output is in the conversation already.
                storing = replace(storing, thread=None)
        elif storing.store:
            self._store.keep(begun)
        keep = self._keep(ask, storing, caller, digest, own, also)
        stored = StoredResponseEncoder(keep, encoder_type=encoder_type)
        exchange = run.exchange(
            runtime,
            stored,
            ask,
            caller,
            run_id=run.run_id,
            created=(known or begun).created,
            digest=digest,
            fetchable=storing.store,
        )

        def forget() -> None:
            if storing.store and not run.is_joined:
                self._store.forget(begun.response_id)

        return StoredExchange(exchange, stored, keep, forget)

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
                run_id = document["id"].removeprefix(PREFIX)
                begun = _begun(ask, storing, caller, digest, run_id)
                self._store.keep(replace(begun, created=document["created_at"], document=document))
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
        run_id: str | None = None,
    ) -> Recording:
        """Start a background response; when this returns it can be found, and the engine has it.

        It releases ``share`` and is logged when it ends. Raises ModelError if it cannot run.
        """
        caller.facts.model = ask.model
        caller = replace(caller, facts=RequestFacts(key=caller.facts.key))
        with ExitStack() as unstarted:
            unstarted.callback(share.release)
            recording = await self._recording(ask, storing, caller, run_id)
            unstarted.pop_all()
        add = partial(self._add_to_thread, storing, caller.key_id, own)
        self.recordings.begin(recording, caller, share.release, add)
        await self.recordings.until_started(recording)
        return recording

    async def _recording(
        self, ask: Ask, storing: StoreOptions, caller: Caller, run_id: str | None
    ) -> Recording:
        runtime = self._runtime
        runtime.registry.resolve(ask.model, runtime.providers)
        digest = await runtime.bodies.put(ask.conversation, caller.key_id)
        begun = _begun(ask, storing, caller, digest, run_id or new_run_id())
        stored = replace(begun, background=True)
        self._store.keep(stored)
        await self._store.flush()
        return Recording(runtime, ask, caller, stored)

    async def find(self, response_id: str, key_id: str) -> StoredResponse:
        """Return a response as it is now. Raises ModelError("not_found")."""
        stored = await self._found(response_id, key_id)
        if stored is None:
            raise ModelError("not_found", f"Response with id {response_id!r} not found.")
        return stored

    async def _found(self, response_id: str, key_id: str) -> StoredResponse | None:
        stored = await self._store.find(response_id, key_id)
        return None if stored is None else await self.recordings.now(stored)

    async def document(self, stored: StoredResponse) -> dict[str, Json]:
        """Return the whole response object as it is now."""
        if stored.document is not None:
            # Older programs stored the credentials of tools.
            return cast(dict[str, Json], redacted(stored.document))
        if (recording := self.recordings.here(stored.response_id)) is not None:
            return recording.document
        return response_object.begun(await self._ask(stored), stored.response_id, stored.created)

    async def shows(self, stored: StoredResponse, asked: Iterable[str]) -> Included:
        """Return which optional members of ``stored`` to include: its request's and ``asked``."""
        return included(await self._ask(stored)).also(asked)

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
        await self.recordings.cancel(stored)
        return await self.find(response_id, key_id)

    async def delete(self, response_id: str, key_id: str) -> None:
        """Delete a response, and cancel it if it has not ended. Raises ModelError."""
        stored = await self.find(response_id, key_id)
        if stored.document is None and not stored.background:
            raise ModelError(
                "invalid_request",
                f"Response {response_id!r} has not ended yet. Close its connection to end it.",
                param="response_id",
            )
        if stored.document is None:
            await self.cancel(response_id, key_id)
        self._store.forget(response_id)

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


def _begun(
    ask: Ask, storing: StoreOptions, caller: Caller, digest: str, run_id: str
) -> StoredResponse:
    """Return the response to ``ask`` as it begins; ``digest`` is its conversation's."""
    return StoredResponse(
        response_id=PREFIX + run_id,
        key_id=caller.key_id,
        model=ask.model,
        created=int(time.time()),
        conversation=digest,
        stream=ask.stream,
        previous_id=storing.previous,
    )

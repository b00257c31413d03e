"""The responses that run without this request: recorded here, or by another process.

One process at a time records a background response: the ``listener`` of its run. If that process
has ended, the response is adopted by the next that is asked for it, or by ``sweep``. A foreground
response whose process has ended is completed once its run has ended; until then its client may
send the request again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from polyvox.activities.live.channel import RunOutcome
from polyvox.activities.storage.responses import StoredResponse
from polyvox.gateway.generate.caller import Caller
from polyvox.gateway.http.request_log import write_line
from polyvox.gateway.responses.background import KEEP_ALIVE, Recording, split_frames
from polyvox.gateway.responses.stored_encoder import StoredStreamEncoder
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.include import EVERYTHING, Included
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

PATH = "/v1/responses"

_START_S = 30.0
"""A response whose run is still not recorded after this time was never started."""

_POLL_S = 0.5
"""How often the frames of another process are looked for, while somebody follows them."""

_SWEEP_S = 15.0
"""How often responses without a process are looked for. One is adopted at the second time: its
client may be about to send the request again."""

_MOST_SWEPT = 200

_CANCEL_S = 10.0

log = logging.getLogger(__name__)


class Recordings:
    """The Recordings of this process. Used on the event loop only.

    ``ask_of`` returns the request of a stored response.
    """

    def __init__(
        self, runtime: Runtime, ask_of: Callable[[StoredResponse], Awaitable[Ask]]
    ) -> None:
        self._runtime = runtime
        self._store = runtime.responses
        self._ask_of = ask_of
        self._recordings: dict[str, tuple[Recording, asyncio.Task[None]]] = {}
        self._adopting = asyncio.Lock()
        self._unfinished: set[str] = set()
        self._sweeping: asyncio.Task[None] | None = None

    def here(self, response_id: str) -> Recording | None:
        """Return the Recording of a response if it is recorded here."""
        found = self._recordings.get(response_id)
        return None if found is None else found[0]

    def begin(
        self,
        recording: Recording,
        caller: Caller,
        release: Callable[[], None],
        ended: Callable[[dict[str, Json]], None],
    ) -> None:
        """Record in the background; at the end log, ``release``, and ``ended`` if it was kept."""
        response_id = recording.stored.response_id

        async def record() -> None:
            started = time.perf_counter()
            try:
                await recording.run()
            finally:
                status = caller.facts.error_status or 200
                write_line("BACKGROUND", PATH, status, started, caller.facts)
                release()
                del self._recordings[response_id]
            if recording.stored.document is not None:
                ended(recording.stored.document)

        task = asyncio.create_task(record(), name=response_id)
        self._recordings[response_id] = recording, task

    async def until_started(self, recording: Recording) -> None:
        """Return when the engine has the run, so that it survives this process, or has refused."""
        found = self._recordings.get(recording.stored.response_id)
        if found is not None:
            starting = asyncio.create_task(recording.started.wait())
            await asyncio.wait({starting, found[1]}, return_when=asyncio.FIRST_COMPLETED)
            starting.cancel()

    async def now(self, stored: StoredResponse) -> StoredResponse:
        """Return a response as it is now; adopt or complete it if its process has ended."""
        if stored.document is not None or stored.response_id in self._recordings:
            return stored
        if not stored.background:
            return await self._completed(stored)
        async with self._adopting:
            stored = await self._store.find(stored.response_id, stored.key_id) or stored
            if stored.document is not None or stored.response_id in self._recordings:
                return stored
            if not await self._is_orphan(stored):
                return stored
            has_ended = await self._runtime.runs.find(stored.run_id).ended() is not None
            recording, task = await self._adopt(stored)
        if has_ended:
            await asyncio.wait([task])
        return recording.stored

    async def _is_orphan(self, stored: StoredResponse) -> bool:
        """Return whether this process is to record a response that nobody records."""
        runs = self._runtime.runs
        run = await runs.requests.run(stored.run_id)
        if run is None:
            return time.time() - stored.created > _START_S
        here = runs.listeners.process_id
        if run.listener == here:
            return True
        return await runs.listeners.is_gone(run.listener) and await runs.requests.adopt(
            run.run_id, run.listener, here
        )

    async def _adopt(self, stored: StoredResponse) -> tuple[Recording, "asyncio.Task[None]"]:
        shown = await self._store.frames(stored.response_id) if stored.stream else b""
        caller = Caller(stored.key_id, "BACKGROUND", PATH)
        recording = Recording(
            self._runtime, await self._ask_of(stored), caller, stored, shown=shown
        )
        self.begin(recording, caller, lambda: None, lambda document: None)
        return self._recordings[stored.response_id]

    async def _completed(self, stored: StoredResponse) -> StoredResponse:
        """Return a foreground response with its end, if its run has ended without its client."""
        runs = self._runtime.runs
        run = await runs.requests.run(stored.run_id)
        if run is None and time.time() - stored.created < _START_S:
            return stored
        if run is not None and not await runs.listeners.is_gone(run.listener):
            return stored
        outcome = await runs.find(stored.run_id).ended()
        return stored if outcome is None else await self._rendered(stored, outcome)

    async def _rendered(self, stored: StoredResponse, outcome: RunOutcome) -> StoredResponse:
        documents: list[dict[str, Json]] = []
        writing = StoredStreamEncoder(
            await self._ask_of(stored),
            run_id=stored.run_id,
            created=stored.created,
            keep=documents.append,
            shows=EVERYTHING,
        )
        try:
            writing.finish(outcome.result())
        except ModelError as error:
            writing.fail(error)
        finished = stored.ended(documents[0])
        self._store.keep(finished)
        return finished

    async def events(
        self, stored: StoredResponse, after: int, shows: Included
    ) -> AsyncIterator[bytes]:
        """Yield the frames of a background stream behind sequence number ``after``."""
        keep_alive_s = self._runtime.keep_alive_s
        place, read, quiet_s = after + 1, 0, 0.0
        while True:
            stored = await self.now(stored)
            if (recording := self.here(stored.response_id)) is not None:
                async for frames in recording.follow(place - 1, keep_alive_s, shows):
                    yield frames
                return
            stored = await self._store.find(stored.response_id, stored.key_id) or stored
            # At the end of a stream its frames are stored once more, as one piece.
            first = 0 if stored.document is not None else read
            shown = split_frames(await self._store.frames(stored.response_id, first))
            if new := shown[max(place - first, 0) :]:
                yield b"".join([shows.frame(frame) for frame in new])
                quiet_s = 0.0
            read = first + len(shown)
            place = max(place, read)
            if stored.document is not None:
                return
            await asyncio.sleep(_POLL_S)
            quiet_s += _POLL_S
            if quiet_s >= keep_alive_s:
                yield KEEP_ALIVE
                quiet_s = 0.0

    async def cancel(self, stored: StoredResponse) -> None:
        """Cancel a background response, wherever it is recorded."""
        if stored.response_id in self._recordings:
            recording, task = self._recordings[stored.response_id]
            recording.cancel()
            await asyncio.wait([task])
            return
        await self._runtime.runs.find(stored.run_id).cancel()
        until = time.monotonic() + _CANCEL_S
        while stored.document is None and time.monotonic() < until:
            await asyncio.sleep(_POLL_S / 5)
            stored = await self._store.find(stored.response_id, stored.key_id) or stored
            stored = await self.now(stored)

    def open(self) -> None:
        """Begin to look for responses whose process has ended."""
        self._sweeping = asyncio.create_task(self._sweep(), name="responses without a process")

    async def _sweep(self) -> None:
        while True:
            try:
                await self._look()
            except ModelError as error:
                log.warning("Unfinished responses are not looked for now: %s", error.message)
            except Exception:
                log.exception("Unfinished responses are not looked for now")
            await asyncio.sleep(_SWEEP_S)

    async def _look(self) -> None:
        found = await self._store.unfinished(_MOST_SWEPT)
        for stored in found:
            if stored.response_id in self._unfinished:
                await self.now(stored)
        self._unfinished = {stored.response_id for stored in found}

    async def close(self) -> None:
        """Stop reading background runs: they continue in the engine, and are found there."""
        tasks = [task for _, task in self._recordings.values()]
        tasks += [self._sweeping] if self._sweeping is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

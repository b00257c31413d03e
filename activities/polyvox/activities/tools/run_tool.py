"""The server-side tools of flows: a table of their names, and the activity that runs one.

A tool is a function of JSON parameters and the client's conversation. It refers to media in the
conversation by digest, so that histories contain no pictures. A slow tool is a coroutine whose work
is done by child processes; the number of concurrent calls of each is limited, and a cancellation
kills its processes. A tool raises ModelError for expected errors; any other exception is a defect.
"""

import asyncio
import inspect
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

from temporalio import activity

from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.tools.bubblewrap import check_code
from polyvox.activities.tools.pictures import crop_image, pdf_pages, read_text
from polyvox.workflows.boundary.backend import RUN_TOOL
from polyvox.workflows.boundary.calls import ToolUse
from polyvox.workflows.boundary.failures import failure
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError

ToolFunction = Callable[[Mapping[str, Json], Conversation], Json | Awaitable[Json]]
"""A function that is not a coroutine function runs in a thread and must be fast."""

TOOLS: Mapping[str, ToolFunction] = {
    "crop_image": crop_image,
    "pdf_pages": pdf_pages,
    "read_text": read_text,
    "check_code": check_code,
}

_BEAT_S = 1.0
_LONGEST_WAIT_S = 30.0


class Toolbox:
    """Runs tools; its ``run_tool`` is the activity.

    ``at_once`` limits the concurrent calls of one tool, by default to two per core, at least four.
    """

    def __init__(
        self, bodies: Bodies, tools: Mapping[str, ToolFunction] = TOOLS, at_once: int | None = None
    ) -> None:
        self._bodies = bodies
        self._tools = tools
        self._at_once = at_once or max(4, 2 * (os.cpu_count() or 1))
        # One for each tool, so that checks of code do not delay pictures.
        self._places: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(self._at_once)
        )

    @activity.defn(name=RUN_TOOL)
    async def run_tool(self, use: ToolUse) -> Json:
        """Run the tool that ``use`` names and return its JSON result."""
        tool = self._tools.get(use.name)
        if tool is None:
            known = ", ".join(sorted(self._tools))
            raise failure(
                ModelError("flow_error", f"There is no tool {use.name!r}. Tools: {known}."),
                retryable=False,
            )
        beating = asyncio.create_task(_beat())
        try:
            client = await self._bodies.fetch(use.base) if use.base else Conversation(())
            return await self._run(use, tool, client)
        except ModelError as error:
            raise failure(error, retryable=True) from error
        except Exception as defect:
            internal = ModelError(
                "internal", f"Tool {use.name!r}: {type(defect).__name__}: {defect}"
            )
            raise failure(internal, retryable=False) from defect
        finally:
            beating.cancel()

    async def _run(self, use: ToolUse, tool: ToolFunction, client: Conversation) -> Json:
        if not inspect.iscoroutinefunction(tool):
            return await asyncio.to_thread(tool, use.params, client)
        place = self._places[use.name]
        try:
            async with asyncio.timeout(_LONGEST_WAIT_S):
                await place.acquire()
        except TimeoutError:
            raise ModelError(
                "overloaded",
                f"Tool {use.name!r} is already running {self._at_once} times. Try again later.",
            ) from None
        try:
            return await tool(use.params, client)
        finally:
            place.release()


async def _beat() -> None:
    """Send heartbeats; through their responses the activity learns of a cancellation."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(_BEAT_S)

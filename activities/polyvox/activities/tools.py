"""The server-side tools a flow may run: a table of names, and the activity that runs one.

A tool is a function of JSON parameters and of the client's conversation, whose media it may look
into by digest, so that no picture travels through a history. It runs in a thread of its own. A
ModelError says what went wrong; anything else it raises is a defect.
"""

import asyncio
from collections.abc import Callable, Mapping

from temporalio import activity

from polyvox.activities.bodies import Bodies
from polyvox.activities.pictures import crop_image, pdf_pages, read_text
from polyvox.activities.sandbox import check_code
from polyvox.workflows.calls import ToolUse
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.failures import failure
from polyvox.workflows.ground import RUN_TOOL

ToolFunction = Callable[[Mapping[str, Json], Conversation], Json]

TOOLS: Mapping[str, ToolFunction] = {
    "crop_image": crop_image,
    "pdf_pages": pdf_pages,
    "read_text": read_text,
    "check_code": check_code,
}


class Toolbox:
    """Runs tools; its ``run_tool`` is the activity."""

    def __init__(self, bodies: Bodies, tools: Mapping[str, ToolFunction] = TOOLS) -> None:
        self._bodies = bodies
        self._tools = tools

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
        try:
            client = self._bodies.get(use.base) if use.base else Conversation(())
            return await asyncio.to_thread(tool, use.params, client)
        except ModelError as error:
            raise failure(error, retryable=True) from error
        except Exception as defect:
            internal = ModelError(
                "internal", f"Tool {use.name!r}: {type(defect).__name__}: {defect}"
            )
            raise failure(internal, retryable=False) from defect
